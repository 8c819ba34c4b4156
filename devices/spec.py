"""The text of a target, ``NAME`` or ``NAME:option=value,option=value``, in its parts."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.errors import UsageError, unknown_name


def split(spec: str) -> tuple[str, str]:
    """``(name, rest)`` of a target's text, the rest without its colon."""
    name, _, rest = spec.partition(":")
    return name.strip(), rest.strip()


def options(target: str, rest: str, known: Iterable[str]) -> dict[str, str]:
    """The options in ``rest``; a value may hold ``=`` (``runtime=tflite-runtime==2.14.0``).

    Raises:
        UsageError: not ``option=value``, an unknown option, or one given twice.
    """
    names = list(known)
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        option, equals, value = part.partition("=")
        if option not in names:
            error = unknown_name(f"option of target {target}", option, names)
            raise error if names else UsageError(f"target {target} takes no options, not {part!r}")
        if not equals or not value:
            raise UsageError(
                f"option {option!r} has no value", where=f"target {target}", remedy=f"write {option}=VALUE"
            )
        if option in found:
            raise UsageError(f"option {option!r} is given twice", where=f"target {target}", remedy="give it once")
        found[option] = value
    return found


def canonical(target: str, found: dict[str, str]) -> str:
    """The target's text with its options in order: equal targets, equal names."""
    return target + (":" + ",".join(f"{k}={found[k]}" for k in sorted(found)) if found else "")


def threads(target: str, text: str) -> int:
    """A number of threads, at least 1.

    Raises:
        UsageError: it is none.
    """
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise UsageError(f"threads={text} is no number from 1", where=f"target {target}", remedy="write threads=4")
