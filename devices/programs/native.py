"""The native runner, where there is no Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange, feeds, profile
from toolkit.records import TensorSpec


class Native:
    """``native.c`` on ``libLiteRt.so``, where there is no Python.

    Args:
        files: the program (``native``), ``libLiteRt.so`` and, for a system whose own C library is another, glibc's
            loader and libraries.
        loader: the name of glibc's loader among them; ``None`` where the system's own does.
        path: tell the system's loader where the library lies.
    """

    results: tuple[str, ...] = ("result.txt", "samples.bin", "outputs.bin", "profile.txt")

    def __init__(self, files: Mapping[str, Path], loader: str | None = None, path: bool = False) -> None:
        self.files = files
        self._loader = loader
        self._path = path

    def words(self, folder: str) -> list[str]:
        """See :class:`devices.remote.Program`."""
        start = [f"{folder}/{self._loader}", "--library-path", folder] if self._loader else []
        if self._path:
            start = ["env", f"LD_LIBRARY_PATH={folder}"]
        return [*start, f"{folder}/native", "plan.txt"]

    def write(self, folder: Path, job: Mapping[str, Any], inputs: Mapping[str, np.ndarray] | None, model: Path) -> None:
        """See :class:`devices.remote.Program`. Names go in hex: a tensor may be called anything."""
        key = job.get("signature")
        found = feeds.signature(model, key)
        arrays = feeds.seeded(model, int(job.get("seed") or 0), key) if inputs is None else None
        arrays = arrays or feeds.fitted(model, inputs or {}, key)
        if job["job"] in ("time", "profile"):
            arrays = {name: array[:8] for name, array in arrays.items()}
        skipped = ("signature", "affinity", "runtime", "batch", "xnnpack", "die_with_parent")
        lines = [f"{k} {v}" for k, v in job.items() if k not in skipped]
        lines += ["xnnpack " + ("on" if job.get("xnnpack", True) else "off"), "die_with_parent 1"]
        lines += [f"accelerators {job.get('accelerators', 1)}", *(f"core {c}" for c in job.get("affinity") or ())]
        if found.key:
            lines.append(f"signature {found.key.encode().hex()}")
        lines += [f"input {name.encode().hex()}" for name in arrays]
        (folder / "plan.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with open(folder / "inputs.bin", "wb") as stream:
            for i in range(len(next(iter(arrays.values())))):
                for array in arrays.values():
                    stream.write(np.ascontiguousarray(array[i]).tobytes())

    def read(self, folder: Path, *, where: str, stderr: str, model: Path) -> dict[str, Any]:
        """See :class:`devices.remote.Program`: the result in the form that Python runners leave."""
        try:
            lines = (folder / "result.txt").read_text(encoding="utf-8").splitlines()
            pairs = [line.split(" ", 1) for line in lines]
            said = {pair[0]: pair[1] for pair in pairs if pair[0] != "output"}
            if said["status"] != "done":
                exchange.raise_failed(said, where=where, stderr=stderr)
            if "end" not in said:
                raise ValueError("result.txt is cut short")
            result = {**self._common(said), **exchange.unknown_delegation("LiteRT's C API does not list operators")}
            if "profiled" in said:
                text = (folder / "profile.txt").read_text(encoding="utf-8", errors="replace")
                result["profile"] = profile.rows(text)
            elif "seconds" in said:
                names = [bytes.fromhex(p[1].split()[1]).decode() for p in pairs if p[0] == "output"]
                specs = {s.name: s for each in feeds.every_signature(model) for s in each.outputs}
                result.update(split_outputs(folder, [specs[name] for name in names]))
                result["seconds"] = float(said["seconds"])
            else:
                result.update(self._samples(folder, said))
        except (OSError, ValueError, LookupError) as error:
            raise exchange.unreadable(where, stderr, error) from error
        return result

    def _common(self, said: Mapping[str, str]) -> dict[str, Any]:
        kb = int(said["memory_kb"])
        return {
            "status": "done",
            "runtime": "libLiteRt.so",
            "init_us": float(said["init_ns"]) / 1e3,
            "memory": {"bytes": 1024 * kb, "kind": "VmHWM"} if kb else None,
        }

    def _samples(self, folder: Path, said: Mapping[str, str]) -> dict[str, Any]:
        return {
            "samples_ns": np.fromfile(folder / "samples.bin", "<f8").tolist(),
            "first_us": float(said["first_ns"]) / 1e3,
            "warmup_inferences": int(said["warmup_inferences"]),
            "warmup_steady": said["warmup_steady"] == "1",
            "batch_k": int(said["batch_k"]),
            "doubling_ratio": float(said["doubling_ratio"]),
        }


def split_outputs(folder: Path, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Takes ``outputs.bin`` apart, sample by sample, and writes the ``outputs.npz`` that is read everywhere else.

    Raises:
        ValueError: its size is no multiple of a sample's.
    """
    raw = (folder / "outputs.bin").read_bytes()
    details = [feeds.detail(spec) for spec in specs]
    kinds = [np.dtype(d["dtype"]) for d in details]
    sizes = [int(np.prod(d["shape"], dtype=np.int64)) * k.itemsize for d, k in zip(details, kinds, strict=True)]
    count, rest = divmod(len(raw), sum(sizes))
    if rest or not count:
        raise ValueError(f"outputs.bin holds {len(raw)} bytes, a sample takes {sum(sizes)}")
    table = np.frombuffer(raw, np.uint8).reshape(count, -1)
    edges = np.cumsum([0, *sizes])
    arrays, described = {}, []
    for i, (spec, one, kind) in enumerate(zip(specs, details, kinds, strict=True)):
        column = np.ascontiguousarray(table[:, edges[i] : edges[i + 1]]).view(kind)
        shape = one["shape"]
        arrays[f"o{i}"] = column.reshape(count, *(shape[1:] if shape and shape[0] == 1 else shape))
        scale, zero = one["quantization"]
        described.append({"name": spec.name, "key": f"o{i}", "scale": scale, "zero_point": zero})
    np.savez(folder / "outputs.npz", **arrays)
    return {"outputs": described, "seconds": 0.0, "batch": 1, "not_batched": "one by one"}
