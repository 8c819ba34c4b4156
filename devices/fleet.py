"""A ``fleet.toml``: devices by name, target and labels; and many of them measured side by side.

::

    [[devices]]
    name = "kitchen"
    target = "raspberry-pi:pi@10.0.0.7"
    labels = ["arm64", "pi4"]
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from toolkit.errors import BrokenInput, UsageError, unknown_name
from toolkit.records import Failure, Measurement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ATTEMPTS = 3
"""How often a device that got lost is tried in all."""

AGAIN_SECONDS = 5.0
"""How long it gets to come back before each of them."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One device: its name, what ``--target`` would take, its labels."""

    name: str
    target: str
    labels: tuple[str, ...]


def read(path: Path) -> list[Member]:
    """The devices of a file, in its order.

    Raises:
        BrokenInput: no such file, no TOML, a key that is unknown or missing, a name or target given twice.
    """
    where = str(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BrokenInput(f"cannot be read ({error.strerror})", where=where, remedy="give a fleet.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrokenInput(f"is no TOML ({error})", where=where, remedy="see docs/devices.md") from error
    extra = sorted(set(data) - {"devices"})
    rows = data.get("devices")
    if extra or not isinstance(rows, list) or not rows:
        what = f"has an unknown key {extra[0]!r}" if extra else "names no device"
        raise BrokenInput(what, where=where, remedy="write [[devices]] with name, target and labels")
    found = [_member(row, f"{where}, device {number}") for number, row in enumerate(rows, 1)]
    for what in ("name", "target"):
        values = [getattr(member, what) for member in found]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise BrokenInput(f"two devices have the {what} {twice!r}", where=where, remedy="each needs its own")
    return found


def _member(row: Any, where: str) -> Member:
    if not isinstance(row, dict):
        raise BrokenInput("is no table", where=where, remedy="write [[devices]]")
    extra = sorted(set(row) - {"name", "target", "labels"})
    if extra:
        raise BrokenInput(f"has an unknown key {extra[0]!r}", where=where, remedy="there are: name, target, labels")
    for key in ("name", "target"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise BrokenInput(f"has no {key}", where=where, remedy=f'write {key} = "…"')
    labels = row.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise BrokenInput("has labels that are no list of texts", where=where, remedy='write labels = ["arm64"]')
    return Member(name=row["name"].strip(), target=row["target"].strip(), labels=tuple(labels))


def chosen(members: Sequence[Member], labels: Sequence[str]) -> list[Member]:
    """The members that have every one of these labels.

    Raises:
        UsageError: a label that none has, or none that has them all.
    """
    known = sorted({label for member in members for label in member.labels})
    for label in labels:
        if label not in known:
            raise unknown_name("label", label, known) if known else UsageError(f"no device has the label {label!r}")
    found = [member for member in members if set(labels) <= set(member.labels)]
    if not found:
        raise UsageError(f"no device has all of the labels {', '.join(labels)}", remedy="give fewer")
    return found


def lost(measurement: Measurement) -> bool:
    """Whether the device's absence broke it, and not the model."""
    failure = measurement.failure
    return failure is not None and failure.stage.startswith("lost at ")


def persistent(
    measure: Callable[[Sequence[int]], list[Measurement]],
    count: int,
    *,
    attempts: int = ATTEMPTS,
    seconds: float = AGAIN_SECONDS,
) -> list[Measurement]:
    """Measures ``count`` files; those that the device's absence broke again, as often as ``attempts`` in all.

    Args:
        measure: takes the files' positions, and gives their measurements in that order.
        count: of the files.
        attempts: at least 1.
        seconds: before each further one.
    """
    found: dict[int, Measurement] = {}
    for attempt in range(attempts):
        todo = [i for i in range(count) if i not in found or lost(found[i])]
        if not todo:
            break
        if attempt:
            time.sleep(seconds)
        found.update(zip(todo, measure(todo), strict=True))
        for i in todo:
            found[i].provenance["attempts"] = attempt + 1
    return [found[i] for i in range(count)]


def side_by_side(work: Callable[[T], R], items: Sequence[T], parallel: int) -> Iterator[tuple[T, R | BaseException]]:
    """Each item with its result, or what it raised, as they are done.

    The threads are daemons: Ctrl-C ends the program without waiting for a device.
    """
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[T, R | BaseException]] = queue.SimpleQueue()
    for item in items:
        todo.put(item)

    def serve() -> None:
        while True:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((item, work(item)))
            except BaseException as error:
                done.put((item, error))

    for number in range(min(parallel, len(items))):
        threading.Thread(target=serve, name=f"device {number}", daemon=True).start()
    for _ in items:
        yield done.get()


def failed(name: str, digest: str, target: Any, plan: Any, failure: Failure) -> Measurement:
    """The record of a file on a device that could not even be opened."""
    from toolkit.records import Conditions

    return Measurement(
        recipe=name,
        artifact_sha256=digest,
        target=target,
        plan=plan,
        runs=(),
        delegated_ops=None,
        partitions=None,
        conditions=Conditions(before={}, after={}),
        verdict="failed",
        reasons=(f"{failure.stage}: {failure.message}",),
        failure=failure,
    )
