"""What a phone measured, as records: results checked against their bundle, judged, and compared with this host."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices import exchange
from devices.device import Device
from devices.ios import ACCELERATORS, DELEGATE_NAMES, PLATFORM, RUNTIME, archive, bundle, fidelity, judging, results
from devices.ios import tensors as io
from devices.ios.results import JobResult
from devices.ios.tensors import Tensors
from toolkit import store
from toolkit.errors import BrokenInput
from toolkit.records import Conditions, Failure, Measurement, Plan, Target, from_json
from toolkit.speed import compare_speed

_UDID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.,-]{0,63}")


def take(result: Path, folder: Path, *, host: Device | None = None) -> list[Measurement]:
    """The measurements in a result, one for each model and delegate, in the bundle's order.

    A job that failed or left nothing is a failure in its record; the others count.

    Args:
        result: the folder or zip that came back.
        folder: the bundle that it was made from.
        host: answers the same inputs, for ``provenance["fidelity"]``; without it nothing is compared.

    Raises:
        UsageError: nothing at ``result``.
        BrokenInput: a damaged bundle or zip, results of another bundle, or none at all.
    """
    manifest = bundle.read(folder)
    plan = from_json(Plan, manifest["plan"])
    models, jobs = manifest["models"], manifest["jobs"]
    files = [_intact(folder, model) for model in models]
    found = [io.read(path) for path in files]
    outputs = {job["id"]: len(found[job["model"]].outputs) for job in jobs}
    with archive.opened(result, list(outputs), outputs) as there:
        _same_bundle(there, folder, result)
        if not any((there / name).is_dir() for name in outputs):
            raise BrokenInput("holds no result of any job", where=str(result), remedy="see run.log on the Mac")
        done = {
            name: results.read(there / name, job, models[job["model"]], found[job["model"]], where=f"{result}: {name}")
            for name, job in zip(outputs, jobs, strict=True)
        }
        device = _device_name(there, done.values())
    shared = {
        "seed": manifest["seed"],
        "runner_sha256": manifest["runner_sha256"],
        "order": [str(job["id"]) for job in jobs],
    }
    measured: dict[tuple[int, str, bool], Measurement] = {}
    answers: dict[int, Any] = {}
    for delegate in manifest["delegates"]:
        for index, model in enumerate(models):
            for control in (False, True):
                chosen = [j for j in jobs if (j["model"], j["delegate"], j["control"]) == (index, delegate, control)]
                if not chosen:
                    continue
                if host is not None and index not in answers:
                    answers[index] = _host_answer(host, folder, chosen[0], files[index], found[index])
                measured[index, delegate, control] = _measurement(
                    model,
                    files[index],
                    found[index],
                    [done[j["id"]] for j in sorted(chosen, key=lambda j: j["round"])],
                    plan,
                    _target(device, delegate, manifest, [done[j["id"]] for j in chosen]),
                    answers.get(index),
                    {**shared, "precision_loss": manifest["precision_loss"]},
                )
    return _with_controls(measured)


def _measurement(
    model: Mapping[str, Any],
    path: Path,
    tensors: Tensors,
    found: Sequence[JobResult],
    plan: Plan,
    target: Target,
    answer: Mapping[str, np.ndarray] | None,
    shared: Mapping[str, Any],
) -> Measurement:
    failure = next((r.failure for r in found if r.failure is not None), None)
    done = [r for r in found if r.timed is not None]
    observed = [
        {t.name: exchange.dequantize(r.raw[t.name], t.scale, t.zero_point) for t in tensors.outputs} for r in done
    ]
    broken = [name for outputs in observed for name, array in outputs.items() if not fidelity.finite(array)]
    if failure is None and broken:
        failure = Failure(stage="outputs", message=f"NaN or infinity in output {broken[0]!r}")
    delegate = next(k for k, v in DELEGATE_NAMES.items() if v == target.delegate)
    floor = judging.floor_us(path, delegate, target.threads)
    verdict, reasons = judging.judge(found, failure, delegate, floor)
    last = done[-1].timed if done else None
    compared = fidelity.compare(answer, observed, path, delegate) if answer is not None and observed else None
    return Measurement(
        recipe=str(model["name"]),
        artifact_sha256=str(model["sha256"]),
        target=target,
        plan=plan,
        runs=tuple(r.timed.run for r in done if r.timed is not None),
        delegated_ops=last.delegated_ops if last else None,
        partitions=last.partitions if last else None,
        conditions=_conditions(found),
        verdict=verdict,
        reasons=reasons,
        failure=failure,
        provenance={
            **(last.provenance if last else {}),
            **shared,
            "file": str(model["path"]),
            "floor_us": floor,
            "fidelity": compared,
        },
    )


def _conditions(found: Sequence[JobResult]) -> Conditions:
    before = {**next((r.before for r in found if r.before), {}), **next((r.device for r in found if r.device), {})}
    after = dict(next((r.after for r in reversed(found) if r.after), {}))
    unknown = {
        "frequency_khz": "iOS does not tell an app",
        "temperature_c": "iOS tells an app a thermal state, no temperature",
    }
    if "thermal_state" not in before or "thermal_state" not in after:
        unknown["thermal_state"] = "the result does not hold it"
    return Conditions(before=before, after=after, unknown=unknown)


def _with_controls(measured: Mapping[tuple[int, str, bool], Measurement]) -> list[Measurement]:
    for (index, delegate, control), second in measured.items():
        first = measured.get((index, delegate, False))
        if control and first is not None and first.runs and second.runs:
            ratio = compare_speed(first, second)
            first.provenance["aa_control"] = {k: ratio[k] for k in ("ratio", "interval", "p_value", "verdict")}
    return [m for (_, _, control), m in measured.items() if not control]


def _intact(folder: Path, model: Mapping[str, Any]) -> Path:
    path = folder / "models" / f"{model['sha256']}.tflite"
    if not path.is_file() or store.sha256_file(path) != model["sha256"]:
        state = "is gone" if not path.is_file() else "has changed (its sha256 is in the manifest)"
        raise BrokenInput(state, where=str(path), remedy="make the bundle again")
    return path


def _same_bundle(there: Path, folder: Path, result: Path) -> None:
    kept = there / "manifest.json"
    if not kept.is_file():
        raise BrokenInput("holds no manifest.json", where=str(result), remedy="give the results.zip that run.sh left")
    if store.sha256_file(kept) != store.sha256_file(folder / "manifest.json"):
        raise BrokenInput(
            f"is not of the bundle {folder} (their manifests differ)",
            where=str(result),
            remedy="name its own bundle with --bundle",
        )


def _device_name(there: Path, found: Any) -> str:
    """The UDID as run.sh wrote it down, else the model's number, else ``unknown``."""
    try:
        text = (there / "udid.txt").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        text = ""
    names = [text, *(str(r.device.get("machine", "")) for r in found)]
    return next((name for name in names if _UDID.fullmatch(name)), "unknown")


def _target(device: str, delegate: str, manifest: Mapping[str, Any], found: Sequence[JobResult]) -> Target:
    versions = {str(r.timed.provenance.get("runtime_version") or "unknown")[:60] for r in found if r.timed is not None}
    return Target(
        name=f"ios:{device}" + ("" if delegate == "cpu" else f"/{delegate}"),
        platform=PLATFORM,
        runtime=RUNTIME,
        runtime_version=", ".join(sorted(versions)) or "unknown",
        delegate=DELEGATE_NAMES[delegate],
        accelerator=ACCELERATORS[delegate],
        threads=int(manifest["threads"]),
    )


def _host_answer(
    host: Device, folder: Path, job: Mapping[str, Any], path: Path, tensors: Tensors
) -> dict[str, np.ndarray]:
    """This host's outputs for the very bytes that the phone was given, ``[n, *shape]`` by name."""
    plan_file = folder / "plans" / str(job["id"]) / "plan.json"
    plan = store.read_json(plan_file)
    if store.sha256_file(plan_file) != job["plan_sha256"]:
        raise BrokenInput("has changed (its sha256 is in the manifest)", where=str(plan_file), remedy="make it again")
    arrays = {}
    try:
        for tensor, entry in zip(tensors.inputs, plan["inputs"], strict=True):
            file = folder / "inputs" / str(entry["file"])
            if store.sha256_file(file) != file.stem:
                raise ValueError(f"{file} has changed (its name is its sha256)")
            array = np.frombuffer(file.read_bytes(), dtype=np.dtype(tensor.dtype).newbyteorder("<"))
            arrays[tensor.name] = array.reshape(int(plan["samples"]), *tensor.shape).astype(tensor.dtype)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenInput(f"its inputs are damaged ({error})", where=str(folder), remedy="make it again") from error
    # A leading axis more than the model's inputs have: every sample is run by itself, as on the phone.
    return host.answer(path, arrays, batch=1).outputs
