"""Any output of Google's benchmark_model, whole or cut: figures come back, or one kind of error does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.device import RunnerFailed
from devices.programs.google_text import MIB, GoogleText, read_text
from toolkit.records import Failure

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark_model"
SHAPES = {path.name: path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob("*.txt"))}


def attempt(stdout: str, stderr: str = "") -> GoogleText | Failure:
    try:
        return read_text(stdout, stderr)
    except RunnerFailed as error:
        return error.failure


def test_what_tensorflows_own_code_prints() -> None:
    none, one, same, slow, few = [
        line + "\n" for line in (GOLDEN / "counts_tensorflow_2_21.log").read_text(encoding="utf-8").split("\n") if line
    ]
    values = read_text(none + slow).values
    assert (values["runs"], values["mean_us"], values["std_us"]) == (4, 4.77019e6, 149866)
    assert (values["p5_us"], values["median_us"], values["p95_us"]) == (4588120, 4812200, 4990412)
    assert (values["min_us"], values["max_us"], values["warmup_runs"]) == (4588120, 4990412, 0)
    values = read_text(one + same).values
    assert (values["first_us"], values["warmup_runs"]) == (5334923, 1)
    assert (values["runs"], values["median_us"], values["max_us"], values["std_us"]) == (3, 2, 2, 0)
    assert read_text(few + one).values["warmup_us"] == 4.8
    with pytest.raises(RunnerFailed, match="not one inference"):
        read_text(one + none)


def as_printed(value: float) -> str:
    """As C++'s ostream: six significant digits."""
    return f"{value:g}"


_WHOLE = st.integers(0, 10**12)
_MEAN = st.floats(0, 1e12)


@given(
    counts=st.tuples(st.integers(2, 10**6), st.integers(2, 10**6)),
    whole=st.tuples(*[_WHOLE] * 9),
    means=st.tuples(_MEAN, _MEAN),
    percentiles=st.booleans(),
    memory=st.tuples(_MEAN, _MEAN),
    prefix=st.sampled_from(["", "INFO: ", "I tflite  : ", "05-30 15:16:46.365  3380  3380 I tflite  : "]),
)
def test_any_printed_numbers_come_back(
    counts: tuple[int, int],
    whole: tuple[int, ...],
    means: tuple[float, float],
    percentiles: bool,
    memory: tuple[float, float],
    prefix: str,
) -> None:
    first, current, least, most, std, p5, median, p95, init = whole
    tail = f" p5={p5} median={median} p95={p95}" if percentiles else ""
    lines = [
        f"count={count} first={first} curr={current} min={least} max={most} avg={as_printed(mean)} std={std}{tail}"
        for count, mean in zip(counts, means, strict=True)
    ]
    lines.append(
        f"Inference timings in us: Init: {init}, First inference: {first}, "
        f"Warmup (avg): {as_printed(means[0])}, Inference (avg): {as_printed(means[1])}"
    )
    footprint = f"init={as_printed(memory[0])} overall={as_printed(memory[1])}"
    lines.append(f"Memory footprint delta from the start of the tool (MB): {footprint}")
    values = read_text("".join(f"{prefix}{line}\n" for line in lines)).values
    expected = {"first": first, "min": least, "max": most, "std": std, "init": init}
    expected |= {"p5": p5, "median": median, "p95": p95} if percentiles else {}
    assert {name: values[f"{name}_us"] for name in expected} == expected
    assert (values["warmup_runs"], values["runs"]) == counts
    assert (values["warmup_us"], values["mean_us"]) == pytest.approx(means, rel=1e-5)
    assert values["memory_overall_bytes"] == float(as_printed(memory[1])) * MIB


@given(st.sampled_from(sorted(SHAPES)), st.data())
def test_cut_off_output_fails_in_one_way(name: str, data: st.DataObject) -> None:
    whole = SHAPES[name]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    for read in (attempt(whole[:end]), attempt("", whole[start:])):
        if isinstance(read, Failure):
            assert read.stage in ("flags", "init", "warm-up", "run", "result")
        else:
            assert read.values["runs"] >= 1
            assert read.values["mean_us"] > 0


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_fails_in_one_way(text: str) -> None:
    for output in (text, f"count=1 curr=5\n{text}\n", f"count=1 curr=5\ncount={text}\n"):
        read = attempt(output, output)
        assert not isinstance(read, Failure) or "count=" in output or read.stage == "init"
