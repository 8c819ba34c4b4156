"""A bundle for an iPhone, and what a stand-in for the phone made of it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devices.runners
from devices.ios import bundle, importing
from fakes import phone
from toolkit.records import Measurement, Plan

PROBE = Path(devices.runners.__file__).parent / "probe.tflite"
PLAN = Plan(mode="quick", processes=2, min_samples=8, min_seconds=0.1, max_seconds=1.0)


class Sent:
    """A bundle and what a phone made of it, in a folder as run.sh leaves it."""

    def __init__(self, folder: Path, delegates: tuple[str, ...] = ("cpu", "metal"), **changed: Any) -> None:
        self.bundle = folder / "bundle"
        self.manifest = bundle.write_bundle(self.bundle, [("a", PROBE)], PLAN, None, delegates, 0)
        documents = folder / "Documents"
        for part in ("plans", "models", "inputs"):
            shutil.copytree(self.bundle / part, documents / part)
        for job in self.manifest["jobs"]:
            phone.run_job(documents, job["id"], **changed)
        self.results = folder / "results"
        self.results.mkdir()
        shutil.copytree(documents / "plans", self.results / "plans")
        shutil.copyfile(self.bundle / "manifest.json", self.results / "manifest.json")
        (self.results / "udid.txt").write_text(phone.UDID + "\n")

    def job(self, delegate: str = "cpu", round_: int = 0) -> Path:
        wanted = (delegate, round_, False)
        found = next(j for j in self.manifest["jobs"] if (j["delegate"], j["round"], j["control"]) == wanted)
        return self.results / "plans" / found["id"]

    def change(self, change: Callable[[dict[str, Any]], Any], **which: Any) -> None:
        file = self.job(**which) / "result.json"
        document = json.loads(file.read_text())
        change(document)
        file.write_text(json.dumps(document))

    def change_all(self, change: Callable[[dict[str, Any]], Any]) -> None:
        for file in sorted(self.results.rglob("result.json")):
            document = json.loads(file.read_text())
            change(document)
            file.write_text(json.dumps(document))

    def take(self, **options: Any) -> list[Measurement]:
        return importing.take(self.results, self.bundle, **options)

    def zip(self) -> Path:
        made = self.results.with_suffix(".zip")
        with zipfile.ZipFile(made, "w") as stream:
            for path in sorted(self.results.rglob("*")):
                stream.write(path, path.relative_to(self.results))
        return made
