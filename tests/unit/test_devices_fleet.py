"""Fleets: what a fleet.toml says, devices side by side, those that die and come back, and where a run goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.command import Done
from fakes.device import TARGET, process

from devices import fleet, runtimes
from devices.fleet import Member
from toolkit.errors import BrokenInput, UsageError
from toolkit.records import Conditions, Failure, Measurement, Plan

PLAN = Plan(mode="quick", processes=2, min_samples=8, min_seconds=0.02, max_seconds=5.0)


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.toml"
    path.write_text(text)
    return path


def test_devices_are_read_and_chosen_by_label(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[[devices]]\nname = "a"\ntarget = "cpu"\nlabels = ["x86", "desk"]\n'
        '[[devices]]\nname = "b"\ntarget = "cpu:threads=2"\nlabels = ["x86"]\n'
        '[[devices]]\nname = "c"\ntarget = "raspberry-pi:pi@h,threads=4"\n',
    )
    members = fleet.read(path)
    assert members[2] == Member(name="c", target="raspberry-pi:pi@h,threads=4", labels=())
    assert [m.name for m in fleet.chosen(members, [])] == ["a", "b", "c"]
    assert [m.name for m in fleet.chosen(members, ["x86"])] == ["a", "b"]
    assert [m.name for m in fleet.chosen(members, ["x86", "desk"])] == ["a"]
    with pytest.raises(UsageError, match="unknown label 'x68'"):
        fleet.chosen(members, ["x68"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no device"),
        ("devices = 3", "names no device"),
        ("[[devices]]\nname = 'a'\n", "device 1: has no target"),
        ("[[devices]]\ntarget = 'cpu'\n", "device 1: has no name"),
        ("[[devices]]\nname = 'a'\ntarget = 'cpu'\ncolour = 'red'\n", "unknown key 'colour'"),
        ("[[devices]]\nname = 'a'\ntarget = 'cpu'\nlabels = 'arm'\n", "labels that are no list"),
        (
            "[[devices]]\nname = 'a'\ntarget = 'cpu'\n[[devices]]\nname = 'a'\ntarget = 'gpu'\n",
            "two devices have the name",
        ),
        ("[[devices]]\nname = 'a'\ntarget = 'cpu'\n[[devices]]\nname = 'b'\ntarget = 'cpu'\n", "the target 'cpu'"),
        ("[[device]]\nname = 'a'\n", "unknown key 'device'"),
        ("= =", "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BrokenInput, match=said):
        fleet.read(write(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="cannot be read"):
        fleet.read(tmp_path / "nowhere.toml")


def made(name: str, failure: Failure | None = None) -> Measurement:
    return Measurement(
        recipe=name,
        artifact_sha256="",
        target=TARGET,
        plan=PLAN,
        runs=(process(0, [1.0]),) if failure is None else (),
        delegated_ops=None,
        partitions=None,
        conditions=Conditions(before={}, after={}),
        verdict="valid" if failure is None else "failed",
        failure=failure,
        provenance={},
    )


def test_only_what_the_absence_broke_is_measured_again() -> None:
    asked: list[list[int]] = []

    def measure(todo: Sequence[int]) -> list[Measurement]:
        asked.append(list(todo))
        gone = Failure(stage="lost at run", message="is gone")
        bad = Failure(stage="load", message="died of SIGSEGV")
        first = {0: None, 1: gone, 2: bad}
        return [made(str(i), first[i] if len(asked) == 1 else None) for i in todo]

    found = fleet.persistent(measure, 3, seconds=0)
    assert asked == [[0, 1, 2], [1]]
    assert [m.verdict for m in found] == ["valid", "valid", "failed"]
    assert [m.provenance["attempts"] for m in found] == [1, 2, 1]


def test_a_device_that_stays_away_is_given_up() -> None:
    gone = Failure(stage="lost at connect", message="cannot be reached")
    found = fleet.persistent(lambda todo: [made("x", gone) for _ in todo], 1, attempts=2, seconds=0)
    assert found[0].verdict == "failed"
    assert found[0].provenance["attempts"] == 2


def test_side_by_side_and_never_more_than_asked() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        if item == 3:
            raise ValueError("three")
        return item * item

    found = dict(fleet.side_by_side(work, range(12), 4))
    assert most == 4
    assert isinstance(found.pop(3), ValueError)
    assert found == {i: i * i for i in range(12) if i != 3}


FLEET = (
    '[[devices]]\nname = "one"\ntarget = "cpu"\n[[devices]]\nname = "two"\ntarget = "cpu:xnnpack=off"\n'
    '[[devices]]\nname = "gone"\ntarget = "raspberry-pi:pi@127.0.0.1:1"\n'
)


def test_a_fleet_is_one_table_and_goes_on_where_it_was(
    tmp_path: Path, edge_export: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("asyncssh")
    monkeypatch.setattr(fleet, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(fleet.persistent, "__kwdefaults__", {"attempts": 2, "seconds": 0.0})
    write(tmp_path, FLEET)
    done = edge_export("bench", runtimes.PROBE, "--fleet", "fleet.toml", "--run-dir", "run", "--json")
    assert done.code == 1, done.err
    rows = {row["target"]: row for row in json.loads(done.out)["measurements"]}
    assert rows["cpu"]["provenance"]["device"] == {"name": "one", "labels": []}
    assert rows["cpu:xnnpack=off"]["fidelity"]["kernels"]["passed"] is True
    gone = rows["raspberry-pi:pi@127.0.0.1:1"]
    assert gone["failure"]["stage"] == "lost at connect"
    assert gone["provenance"]["attempts"] == 2
    again = edge_export("bench", runtimes.PROBE, "--fleet", "fleet.toml", "--run-dir", "run", "--json")
    assert "on 1 devices" in again.err  # the one that was away
    kept = {row["target"]: row for row in json.loads(again.out)["measurements"]}
    assert kept["cpu"]["provenance"] == rows["cpu"]["provenance"]
    assert (tmp_path / "run" / "measurements.jsonl.gz").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fleet", "fleet.toml", "--target", "cpu"), "exclude each other"),
        (("--label", "arm"), "are for --fleet"),
        (("--fleet", "fleet.toml", "--label", "arm"), "no device has the label 'arm'"),
    ],
)
def test_mixed_up_options(tmp_path: Path, edge_export: Callable[..., Done], words: tuple[str, ...], said: str) -> None:
    write(tmp_path, FLEET)
    done = edge_export("bench", runtimes.PROBE, *words)
    assert (done.code, said in done.error) == (2, True), done.err


def test_records_of_nowhere_hold_what_happened() -> None:
    found: Any = fleet.failed("int8", "ab", TARGET, PLAN, Failure(stage="open", message="no"))
    assert (found.verdict, found.reasons, fleet.lost(found)) == ("failed", ("open: no",), False)
