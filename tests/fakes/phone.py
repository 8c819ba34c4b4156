"""A phone and a Mac's tools, at the boundary of the process: what the runner app leaves, and an ``xcrun`` to reach it.

Started as ``xcrun`` (a link to this file, or a script that runs it) it writes its arguments down and serves a folder
as the app's container; its JSON documents are made up after those that Xcode 15 and 27 write, as other projects'
tests have them. Outputs are real: the model runs here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

UDID = "00008110-000A11112222333E"
IDENTIFIER = "0A0B0C0D-0E0F-4A01-8B01-ABCDEF012345"


def devices(*, newer: bool = False, tunnel: str = "connected", os_version: str = "17.5") -> dict[str, Any]:
    """The document of ``list devices``: one iPhone, one Watch, one simulator, one row that says nothing."""

    def row(kind: str, platform: str, reality: str, udid: str) -> dict[str, Any]:
        hardware = {"deviceType": kind, "platform": platform, "reality": reality, "udid": udid}
        hardware["productType"] = "iPhone16,1"
        state = {"name": f"Sample {kind}", "osVersionNumber": os_version, "bootState": "booted"}
        connection = {"pairingState": "paired", "transportType": "wired"}
        if newer:
            parts = {"hardware": hardware, "state": state, "connection": {**connection, "state": tunnel}}
            return {"identifier": IDENTIFIER, "properties": parts}
        return {
            "identifier": IDENTIFIER,
            "hardwareProperties": hardware,
            "deviceProperties": state,
            "connectionProperties": {**connection, "tunnelState": tunnel},
        }

    rows = [
        row("iPhone", "iOS", "physical", UDID),
        row("appleWatch", "watchOS", "physical", "00008301-0000000000000001"),
        row("iPhone", "iOS", "simulated", "E60E9C71-FCE3-4257-8E2C-9413E8D82B5C"),
        {"identifier": "x", "hardwareProperties": {}},
    ]
    return {"info": {"outcome": "success", "version": "518.0"}, "result": {"devices": rows}}


def run_job(documents: Path, name: str, **changed: Any) -> Path:
    """What the app leaves in ``plans/NAME``: real outputs, made-up times; ``changed`` replaces parts of the result."""
    import numpy as np

    from devices.runners import portable

    folder = next(p.parent for p in documents.rglob("plan.json") if p.parent.name == name)
    content = (folder / "plan.json").read_bytes()
    plan = json.loads(content)
    files = {p.name: p for p in documents.rglob("*") if p.is_file()}
    path = files[plan["model"]]
    model = portable.Model({"model": str(path), "threads": plan["threads"]})
    shapes = {i["name"]: tuple(i["shape"]) for i in plan["inputs"]}
    model.prepare(shapes)
    arrays = {
        i["name"]: np.frombuffer(files[i["file"]].read_bytes(), dtype=i["dtype"]).reshape(plan["samples"], *i["shape"])
        for i in plan["inputs"]
    }
    answers = [model.run({n: a[k] for n, a in arrays.items()}) for k in range(plan["samples"])]
    described = []
    for output in plan["outputs"]:
        found = np.stack([answer[output["name"]] for answer in answers])
        (folder / output["file"]).write_bytes(found.tobytes())
        described.append({"name": output["name"], "file": output["file"], "shape": list(found.shape[1:])})
    digest = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    samples = 2e6 * (1 + 0.01 * np.random.default_rng(digest).standard_normal(100).clip(-2, 2))
    moment = {"time": "2026-01-02T03:04:05Z", "thermal_state": "nominal", "low_power_mode": False, "uptime_s": 12.5}
    result = {
        "status": "done",
        "job": plan["job"],
        "delegate": plan["delegate"],
        "plan_sha256": hashlib.sha256(content).hexdigest(),
        "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "process": name,
        "device": {"machine": "iPhone16,1", "os": "Version 17.5", "cores": 6, "memory_bytes": 8 << 30},
        "before": moment,
        "after": moment,
        "runtime": "tensorflow-lite-c",
        "runtime_version": "2.17.0",
        "init_us": 900.0,
        "first_us": 2500.0,
        "warmup_inferences": 300,
        "warmup_steady": True,
        "batch_k": 1,
        "samples_ns": [float(s) for s in samples],
        "doubling_ratio": 2.0,
        "memory": {"bytes": 20 << 20, "kind": "phys_footprint"},
        "memory_before": None,
        "delegated_ops": [1, 1],
        "partitions": 1,
        "ops_left_codes": [],
        "delegation_unknown": None,
        "seconds": 0.01,
        "outputs": described,
        **changed,
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder


TOOLS = {
    "uname": "print('Darwin')",
    "xcodebuild": (
        "import os, sys\n"
        "if sys.argv[1:] == ['-version']:\n"
        "    print(os.environ.get('FAKE_XCODE', 'Xcode 16.2\\nBuild version 16C5032a'))\n"
        "else:\n"
        "    os.makedirs('build/Build/Products/Release-iphoneos/EdgeExportRunner.app')\n"
    ),
    "pod": "",
    "plutil": (
        "import json, sys\n"
        "found = json.load(open(sys.argv[-1]))\n"
        "try:\n"
        "    for key in sys.argv[2].split('.'):\n"
        "        found = found[key]\n"
        "except KeyError:\n"
        "    sys.exit(1)\n"
        "print(found)\n"
    ),
    "zip": (
        "import pathlib, sys, zipfile\n"
        "with zipfile.ZipFile(sys.argv[2], 'w') as made:\n"
        "    for path in sorted(pathlib.Path('.').rglob('*')):\n"
        "        made.write(path)\n"
    ),
    "xcrun": "from fakes import phone\nphone.main()\n",
}
"""A Mac's tools, as far as run.sh asks them."""


def mac(folder: Path) -> dict[str, str]:
    """Puts the tools into ``folder/bin`` and a phone into ``folder/phone``; returns the environment to see them in."""
    tools = folder / "bin"
    tools.mkdir(parents=True)
    for name, code in TOOLS.items():
        tool = tools / name
        tool.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    root = Path(__file__).parents[2]
    return {
        "PATH": f"{tools}:/usr/bin:/bin",
        "PYTHONPATH": f"{root}:{root / 'tests'}",
        "FAKE_PHONE": str(folder / "phone"),
        "HOME": str(folder),
    }


def said(folder: Path) -> list[list[str]]:
    """The command lines that ``xcrun`` was started with."""
    log = folder / "phone" / "xcrun.log"
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def main() -> None:
    """``xcrun devicectl ...``; what goes wrong is chosen by ``FAKE_FAIL`` (words the command begins with)."""
    given = sys.argv[1:]
    phone = Path(os.environ["FAKE_PHONE"])
    phone.mkdir(exist_ok=True)
    with open(phone / "xcrun.log", "a", encoding="utf-8") as log:
        log.write(json.dumps(given) + "\n")
    words = " ".join(given)
    fail = os.environ.get("FAKE_FAIL")
    if fail and words.startswith(fail):
        print("ERROR: The device is locked. (com.apple.dt.CoreDeviceError error 1)", file=sys.stderr)
        sys.exit(1)
    if os.environ.get("FAKE_HANG"):
        import time

        time.sleep(60)
    if "--help" in given:
        print("OPTIONS: " + os.environ.get("FAKE_HELP", "--console --terminate-existing"))
        return
    option = dict(itertools.pairwise(given))
    if "--json-output" in option:
        document = devices(newer=bool(os.environ.get("FAKE_NEWER")), os_version=os.environ.get("FAKE_IOS", "17.5"))
        if "info" in given:
            document["result"] = document["result"]["devices"][0]
        Path(option["--json-output"]).write_text(os.environ.get("FAKE_JSON") or json.dumps(document))
    container = phone / "container"
    if words.startswith("devicectl device copy to"):
        target = container / option["--destination"]
        source = Path(option["--source"])
        # Into a folder that is there, as cp does, or as the folder: both have to do.
        target = target / source.name if os.environ.get("FAKE_NESTED") else target
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif words.startswith("devicectl device copy from"):
        shutil.copytree(container / option["--source"], option["--destination"], dirs_exist_ok=True)
    elif words.startswith("devicectl device process launch"):
        name = given[given.index("--job") + 1]
        if name not in os.environ.get("FAKE_CRASH", "").split():
            run_job(container / "Documents", name)
        else:
            folder = next(p.parent for p in container.rglob("plan.json") if p.parent.name == name)
            (folder / "stage").write_text("load")
            sys.exit(1)


if __name__ == "__main__":
    main()
