"""The text of a target, ``NAME`` or ``NAME:option=value,option=value``, in its parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

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


def canonical(target: str, found: dict[str, str], joint: str = ":") -> str:
    """The target's text with its options in order: equal targets, equal names."""
    return target + (joint + ",".join(f"{k}={found[k]}" for k in sorted(found)) if found else "")


def threads(target: str, text: str) -> int:
    """A number of threads, at least 1.

    Raises:
        UsageError: it is none.
    """
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise UsageError(f"threads={text} is no number from 1", where=f"target {target}", remedy="write threads=4")


def address(target: str, rest: str, known: Iterable[str], example: str) -> tuple[str, dict[str, str]]:
    """``(address, options)`` of ``ADDRESS,option=value,…``.

    Raises:
        UsageError: no address, or what :func:`options` refuses.
    """
    first, _, others = rest.partition(",")
    if not first.strip() or "=" in first:
        raise UsageError(f"target {target} names no device", remedy=f"write {target}:{example}")
    return first.strip(), options(target, others, known)


def switch(target: str, found: dict[str, str], option: str, default: bool = True) -> bool:
    """An option that is on or off.

    Raises:
        UsageError: it is neither.
    """
    value = found.get(option, "on" if default else "off")
    if value not in ("on", "off"):
        raise UsageError(f"{option}={value}", where=f"target {target}", remedy=f"write {option}=on or {option}=off")
    return value == "on"


def cores(target: str, found: dict[str, str]) -> str | None:
    """The option ``cores``: ``big``, or numbers joined by ``+``; ``None`` where it is not given.

    Raises:
        UsageError: it is neither.
    """
    value = found.get("cores")
    if value is not None and value != "big" and not re.fullmatch(r"\d{1,3}(\+\d{1,3})*", value):
        raise UsageError(f"cores={value}", where=f"target {target}", remedy="write cores=big or cores=0+1")
    return value


def affinity(chosen: str | None, readings: Mapping[str, Any]) -> list[int] | None:
    """The cores that are meant, of a device with these readings; ``None`` for all of them."""
    if chosen is None:
        return None
    if chosen != "big":
        return [int(core) for core in chosen.split("+")]
    from devices.readings import big_cores

    return big_cores(readings) or None
