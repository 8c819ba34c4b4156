"""Takes every cell of the legality table again: what does each runtime do with a file of each kind?

python scripts/benchmarks/legality_table.py [--only dense/blocks] [--runtime tflite-runtime==2.7.0] [--json FILE]

Files are those of the tests (tests/fakes/kinds.py): networks of two layers, pruned by the pattern, their channels'
scales spread by exp(N(0, 1)), 32 samples uniform in 0..1. Shown are the PSNR to the float model, or the runtime's words
where the file does not load. A line is marked where the verdict is not the table's. Runtimes that are not here are left
out, and made by pip where --runtime names them; one that the table has no column for is measured and not judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fakes.kinds import Zoo

import devices.targets
from converters import legality
from devices import environments, runtimes
from toolkit import parity
from toolkit.errors import EdgeExportError
from toolkit.progress import Progress

LEAST_DB = {"float32": 100.0, "float16": 40.0}
"""What counts as right: below these, 25 dB for 4 bits and 30 dB for 8, as the recipes' tolerances."""


def main() -> None:
    """Prints a line for every kind and way to run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="kinds that begin with this, as LAYER/ENCODING/DTYPE")
    parser.add_argument("--runtime", action="append", default=[], help="NAME==VERSION beside those of the table")
    parser.add_argument("--json", type=Path, help="also write what was measured there")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    ways = _ways(environments.ready(given.runtime, progress=Progress()))
    rows = [row for row in legality.table().rows if "/".join(row.kind).startswith(given.only)]
    found, other = [], 0
    with tempfile.TemporaryDirectory() as folder:
        zoo = Zoo(Path(folder))
        for row in rows:
            for title, target, column in ways:
                measured = _measure(zoo, row, target)
                expected = row.answer(column) if column else None
                strange = expected is not None and expected.verdict != measured["verdict"]
                other += strange
                said = f"  <-- the table says {expected.verdict}" if strange and expected else ""
                print(f"{'/'.join(row.kind):<50}  {title:<32}  {measured['verdict']}: {measured['evidence']}{said}")
                found.append({"kind": list(row.kind), "runtime": title, **measured})
    print(f"{len(found)} measured, {other} unlike the table")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    sys.exit(1 if other else 0)


def _ways(further: tuple[str, ...]) -> list[tuple[str, str, legality.Runtime | None]]:
    """What to call it, the target, and the column of the table it belongs to."""
    ways: list[tuple[str, str, legality.Runtime | None]] = []
    for column in legality.table().runtimes:
        text = runtimes.exact(column.name, column.version)
        if text is None:
            print(
                f"left out: {column.title} is not here (edge-export doctor --fix --runtime makes it)", file=sys.stderr
            )
            continue
        ways.append((column.title, f"cpu:runtime={text},xnnpack={'off' if column.xnnpack is False else 'on'}", column))
    for text in further:
        if text not in [target.split("=", 1)[1].split(",")[0] for _, target, _ in ways]:
            ways += [(f"{text} {way}", f"cpu:runtime={text},xnnpack={way}", None) for way in ("on", "off")]
    return ways


def _measure(zoo: Zoo, row: legality.Row, target: str) -> dict[str, str]:
    evidence = zoo.evidence(row.kind)
    try:
        answer = devices.targets.open(target).answer(zoo.file(row.kind, row.by), evidence.inputs)
    except EdgeExportError as error:
        return {"verdict": legality.REFUSED, "evidence": error.what}
    (distance,) = parity.compare(evidence.reference, answer.outputs).values()
    name = row.kind.dtype.split(",")[0]
    least = LEAST_DB.get(name, 25.0 if "int4" in name else 30.0)
    right = distance.finite and distance.psnr_db >= least
    shown: Any = f"{distance.psnr_db:.0f} dB" if distance.finite else "NaN"
    return {"verdict": legality.RIGHT if right else legality.WRONG, "evidence": shown}


if __name__ == "__main__":
    main()
