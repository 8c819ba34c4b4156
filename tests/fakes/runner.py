"""A runner program that does what its plan's ``model`` is called: crash, hang, write rubbish, or answer well.

Run as ``python runner.py plan.json``, like the real ones; standard library and numpy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

GOOD_ANSWER = {
    "status": "done",
    "runtime": "fake",
    "runtime_version": "1",
    "outputs": [{"name": "y", "key": "o0", "scale": 0.5, "zero_point": -1}],
    "batch": 1,
    "not_batched": None,
    "seconds": 0.1,
    "delegated_ops": [1, 2],
    "partitions": 1,
}
GOOD_TIME = {
    "status": "done",
    "batch_k": 2,
    "init_us": 10.0,
    "first_us": 5.0,
    "warmup_inferences": 20,
    "warmup_steady": True,
    "doubling_ratio": 2.0,
    "samples_ns": [1000.0, 1001.0],
    "memory": {"bytes": 1000, "kind": "ru_maxrss"},
    "delegated_ops": None,
    "partitions": None,
    "delegation_unknown": "a fake has no delegate",
}


def result(data: object) -> int:
    text = data if isinstance(data, str) else json.dumps(data)
    Path("result.json").write_text(text, encoding="utf-8")
    return 0


def main() -> int:
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    what = Path(plan["model"]).name
    Path("stage").write_text("infer", encoding="utf-8")
    print("chatter\n" * 1000 + "the last words", file=sys.stderr, flush=True)
    good = dict(GOOD_ANSWER if plan["job"] == "answer" else GOOD_TIME)
    if what == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "segv-in-batches" and plan["batch"] > 1:
        Path("stage").write_text("batch", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "exit-7":
        return 7
    if what == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(plan["signature"]).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
        time.sleep(600)
    if what == "rubbish":
        return result("{not json")
    if what == "no-status":
        return result("[1, 2]")
    if what == "half":
        del good["seconds" if plan["job"] == "answer" else "samples_ns"]
    if what == "nan-times":
        good["samples_ns"] = [1000.0, float("nan")]
    if what == "no-times":
        good["samples_ns"] = []
    if what in ("input", "missing", "device"):
        return result({"status": "failed", "kind": what, "stage": "load", "message": f"no good: {what}"}) or 1
    if what != "silent":
        import numpy as np

        count = 2 if what == "short" else 3
        np.savez("outputs.npz", o0=np.arange(count * 2, dtype=np.int8).reshape(count, 2))
        if what == "truncated":
            content = Path("outputs.npz").read_bytes()
            Path("outputs.npz").write_bytes(content[: len(content) // 2])
        if what == "no-arrays":
            Path("outputs.npz").unlink()
        result(good)
    return 0


if __name__ == "__main__":
    sys.exit(main())
