"""Runs a .tflite model on LiteRT's GPU accelerator (``CompiledModel``): ``python compiled.py plan.json``.

Pushed beside ``portable.py`` and ``job.py``, and does their jobs by their rules. Plan, besides theirs: ``precision``
(``fp16`` or ``fp32``). What the accelerator says of itself (adapter, operators left behind) it writes to the process's
stderr; this program reads it there.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
import tempfile
import time
from typing import Any

import numpy as np

if __package__:
    from devices.runners import portable
    from devices.runners.job import JobFailed, main
else:  # run as a program: the files lie side by side, on a device too
    import portable  # type: ignore
    from job import JobFailed, main  # type: ignore

_STDERR = "/proc/self/fd/2"
"""Opened by this name it has an offset of its own."""

_ADAPTER = re.compile(r"Selected adapter: ([^\n]*)")
_SOFTWARE = re.compile(r"SwiftShader|llvmpipe|lavapipe|adapterType=CPU", re.IGNORECASE)
_SPLIT = re.compile(r"(\d+) operations will run on the GPU, and the remaining (\d+) operations will run on the CPU")
_LEFT = re.compile(r"^([A-Z][A-Z0-9_]+): ", re.MULTILINE)
_NO_GPU = re.compile(r"No adapters found|Failed to initialize WebGPU|Couldn't load Vulkan|No GPU accelerator", re.I)


class Overheard:
    """What the process writes to its stderr, natively, while this is entered.

    Where stderr is a file it is read there, so that nothing is lost when the process dies; else it goes through a
    file and is passed on afterwards.
    """

    def __enter__(self) -> Overheard:
        self.text = ""
        self._own: int | None = None
        if stat.S_ISREG(os.fstat(2).st_mode):
            self._file: Any = open(_STDERR, "rb")
            self._file.seek(0, os.SEEK_END)
            return self
        self._file = tempfile.TemporaryFile()
        self._own = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            os.dup2(self._own, 2)
            os.close(self._own)
            self._file.seek(0)
        said = self._file.read()
        self._file.close()
        if self._own is not None:
            os.write(2, said)
        self.text = said.decode("utf-8", "replace")


class Compiled:
    """A compiled model with one signature chosen; the same face as :class:`portable.Model`.

    A model's shapes are fixed when it is compiled, so a new shape makes a new one. ``invoke`` runs *and reads the
    outputs*: to run alone only hands the work over.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        # The names, shapes and quantization come from the interpreter, which is not run.
        details = portable.Model({**plan, "xnnpack": False, "threads": 1})
        self.runtime, self._key = details.runtime, details.key
        self.inputs, self.outputs = details.inputs, details.outputs
        self.total = details.operators()
        self.said = ""
        self.warm_init_us: float | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._compile()

    def _compile(self) -> None:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import GpuOptions, Options

        both = HardwareAccelerator.GPU | HardwareAccelerator.CPU  # what the GPU does not take, the CPU does
        options = Options(both, gpu_options=GpuOptions(enforce_f32=self._plan.get("precision") == "fp32"))
        listener = Overheard()
        try:
            with listener:
                model = CompiledModel.from_file(self._plan["model"], options=options)
                for name, shape in self._shapes.items():
                    if tuple(self.inputs[name]["shape"]) != shape:
                        model.resize_input_tensor_by_name(self._key, name, shape, strict=False)
        except Exception as error:
            if _NO_GPU.search(listener.text):
                raise JobFailed("missing", "there is no GPU that LiteRT can use") from error
            raise JobFailed("device", f"the model does not compile: {_last(listener.text) or error}") from error
        self.said += listener.text
        if not _ADAPTER.search(self.said):
            raise JobFailed("missing", "there is no GPU that LiteRT can use")
        self._model = model
        names = model.get_signature_list()[self._key]
        self._in = {n: model.create_input_buffer_by_name(self._key, n) for n in names["inputs"]}
        self._out = {n: model.create_output_buffer_by_name(self._key, n) for n in names["outputs"]}
        self._sizes: dict[str, Any] = {}

    def prepare(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Compiles anew for these shapes, if they are others; the time of the second compilation is kept."""
        began = time.perf_counter_ns()
        changed = {n: s for n, s in shapes.items() if tuple(self.inputs[n]["shape"]) != s}
        if (shapes and self.warm_init_us is None) or changed != self._shapes:
            self._shapes = changed
            self._compile()
            self.warm_init_us = (time.perf_counter_ns() - began) / 1e3

    def feed(self, arrays: dict[str, Any]) -> None:
        """Writes the input buffers."""
        for name, array in arrays.items():
            self._in[name].write(np.ascontiguousarray(array).reshape(-1))

    def invoke(self) -> dict[str, Any]:
        """Runs, and waits for the outputs by reading them."""
        self._model.run_by_name(self._key, self._in, self._out)
        if not self._sizes:
            self._sizes = {name: self._shape(name) for name in self._out}
        return {name: buffer.read(*self._sizes[name][:2]) for name, buffer in self._out.items()}

    def _shape(self, name: str) -> tuple[int, Any, tuple[int, ...]]:
        shape = tuple(int(d) for d in self._out[name].get_tensor_details()["shape"])
        return int(np.prod(shape, dtype=np.int64)), np.dtype(self.outputs[name]["dtype"]).type, shape

    def run(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Feeds, invokes and fetches."""
        self.feed(arrays)
        found = self.invoke()
        return {name: np.asarray(value).reshape(self._sizes[name][2]) for name, value in found.items()}

    def delegation(self) -> dict[str, Any]:
        """Operators that the accelerator took, of all, and those it left."""
        split = _SPLIT.search(self.said)
        left: list[str] = []
        if split:
            taken = [int(split[1]), int(split[1]) + int(split[2])]
            start = self.said.rfind("Following operations are not supported", 0, split.start())
            left = sorted(set(_LEFT.findall(self.said[max(start, 0) : split.start()])))
        elif self._model.is_fully_accelerated():
            taken = [self.total, self.total]
        else:
            return {**portable.unknown("the accelerator does not say which operators it took")}
        return {"delegated_ops": taken, "partitions": None, "ops_left": left, "delegation_unknown": None}

    def facts(self) -> dict[str, Any]:
        """The adapter, whether it is software, the precision, and how long compiling a second time took."""
        found = _ADAPTER.search(self.said)
        adapter = found[1].strip() if found else None
        return {
            "adapter": adapter,
            "software": bool(adapter and _SOFTWARE.search(adapter)),
            "precision": self._plan.get("precision"),
            "warm_init_us": self.warm_init_us,
        }


def _last(text: str) -> str:
    """The last line that says what was wrong; accelerators of other makers that are not here are no fault."""
    lines = [line.strip(" └") for line in text.splitlines() if "plugin" not in line.lower() and "NPU" not in line]
    wrong = [line for line in lines if re.search(r"ERROR|not supported|only supports|FAILED", line)]
    return re.sub(r"^(ERROR|WARNING|INFO): ", "", wrong[-1])[:300] if wrong else ""


if __name__ == "__main__":
    jobs: dict[str, Any] = {name: functools.partial(job, make=Compiled) for name, job in portable.JOBS.items()}
    sys.exit(main(sys.argv[1], jobs))
