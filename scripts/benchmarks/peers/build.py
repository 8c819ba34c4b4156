"""Makes one model for every peer that is installed, from plain arrays: python build.py MODEL.npz FOLDER

Runs in the peers' own environment. MODEL.npz holds ``layers`` (JSON: kind, activation), their ``kernel_I`` and
``bias_I`` as Keras has them, ``shape`` of a sample, ``calibration`` samples. What a peer cannot make is left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def onnx_model(data: Any, layers: list[dict[str, Any]], path: Path) -> None:
    """The network in ONNX, channels first, a sample a call: input ``x``, output ``y``."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = [int(v) for v in data["shape"]]
    nodes, weights, name = [], [], "x"

    def node(op: str, inputs: list[str], **options: Any) -> str:
        out = f"t{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [out], name=f"n{len(nodes)}", **options))
        return out

    def constant(values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(values), f"w{len(weights)}"))
        return weights[-1].name

    spatial: tuple[int, int, int] | None = None
    for i, layer in enumerate(layers):
        kernel, bias = data.get(f"kernel_{i}"), data.get(f"bias_{i}")
        if layer["kind"] == "channel":
            name = node("Reshape", [name, constant(np.array([1, 1, *shape], np.int64))])
            spatial = (1, *shape)
        elif layer["kind"] == "conv":
            name = node("Conv", [name, constant(kernel.transpose(3, 2, 0, 1)), constant(bias)])
            spatial = (kernel.shape[3], spatial[1] - kernel.shape[0] + 1, spatial[2] - kernel.shape[1] + 1)
        elif layer["kind"] == "pool":
            name = node("MaxPool", [name], kernel_shape=[2, 2], strides=[2, 2])
            spatial = (spatial[0], spatial[1] // 2, spatial[2] // 2)
        elif layer["kind"] == "flatten":
            name = node("Reshape", [name, constant(np.array([1, -1], np.int64))])
        else:
            if spatial is not None:  # Keras flattened channels last
                c, h, w = spatial
                kernel = kernel.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(c * h * w, -1)
                spatial = None
            name = node("Gemm", [name, constant(kernel), constant(bias)])
        if layer.get("activation") == "relu":
            name = node("Relu", [name])
        elif layer.get("activation") == "softmax":
            name = node("Softmax", [name])
    nodes[-1].output[0] = "y"
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "net", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def onnxruntime(folder: Path, samples: np.ndarray) -> None:
    """Static int8, per channel, as its guide recommends for CPUs (QDQ, preprocessed)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(self.rest, None)
            return None if found is None else {"x": found[None]}

    quant_pre_process(str(folder / "float.onnx"), str(folder / "pre.onnx"))
    quantize_static(
        str(folder / "pre.onnx"),
        str(folder / "int8.onnx"),
        Reader(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    (folder / "pre.onnx").unlink()


def openvino(folder: Path, samples: np.ndarray) -> None:
    """Float and NNCF's post-training int8."""
    import nncf
    import openvino as ov

    model = ov.convert_model(str(folder / "float.onnx"))
    ov.save_model(model, str(folder / "float_ov.xml"), compress_to_fp16=False)
    made = nncf.quantize(model, nncf.Dataset([s[None] for s in samples]), subset_size=len(samples))
    ov.save_model(made, str(folder / "int8_ov.xml"))


def mnn(folder: Path, samples: np.ndarray) -> None:
    """Float, and weights in 8 bits computed in integers (its converter's own post-training setting)."""
    import subprocess

    tool = Path(sys.executable).with_name("mnnconvert")
    base = [tool, "-f", "ONNX", "--modelFile", folder / "float.onnx", "--bizCode", "x"]
    for options, name in ((), "float.mnn"), (("--weightQuantBits", "8"), "int8w.mnn"):
        words = [str(word) for word in (*base, *options, "--MNNModel", folder / name)]
        subprocess.run(words, check=True, capture_output=True)


def executorch(folder: Path, samples: np.ndarray) -> None:
    """Float and static int8 (PT2E), both lowered to XNNPACK."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    data = dict(np.load(folder / "model.npz"))
    net = torch_model(data, json.loads(str(data["layers"]))).eval()
    example = (torch.from_numpy(samples[:1]),)

    def lower(module: Any, name: str) -> None:
        program = to_edge_transform_and_lower(torch.export.export(module, example), partitioner=[XnnpackPartitioner()])
        (folder / name).write_bytes(program.to_executorch().buffer)

    lower(net, "float.pte")
    chosen = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(net, example).module(), chosen)
    for sample in samples:
        prepared(torch.from_numpy(sample[None]))
    lower(convert_pt2e(prepared), "int8.pte")


def torch_model(data: Any, layers: list[dict[str, Any]]) -> Any:
    """The same network in PyTorch."""
    import torch
    from torch import nn

    made: list[Any] = []
    shape = [int(v) for v in data["shape"]]
    spatial: tuple[int, int, int] | None = None
    for i, layer in enumerate(layers):
        kernel, bias = data.get(f"kernel_{i}"), data.get(f"bias_{i}")
        if layer["kind"] == "channel":
            made.append(nn.Unflatten(1, (1, shape[0])))
            spatial = (1, *shape)
        elif layer["kind"] == "conv":
            conv = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2])
            conv.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            conv.bias.data = torch.from_numpy(bias)
            made.append(conv)
            spatial = (kernel.shape[3], spatial[1] - kernel.shape[0] + 1, spatial[2] - kernel.shape[1] + 1)
        elif layer["kind"] == "pool":
            made.append(nn.MaxPool2d(2))
            spatial = (spatial[0], spatial[1] // 2, spatial[2] // 2)
        elif layer["kind"] == "flatten":
            made.append(nn.Flatten())
        else:
            if spatial is not None:
                c, h, w = spatial
                kernel = kernel.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(c * h * w, -1)
                spatial = None
            dense = nn.Linear(*kernel.shape)
            dense.weight.data, dense.bias.data = torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)
            made.append(dense)
        activation = {"relu": nn.ReLU, "softmax": lambda: nn.Softmax(dim=1)}.get(layer.get("activation"))
        if activation:
            made.append(activation())
    return nn.Sequential(*made)


def main() -> None:
    """Builds what can be built."""
    folder = Path(sys.argv[2])
    data = dict(np.load(sys.argv[1]))
    samples = data["calibration"].astype(np.float32)
    onnx_model(data, json.loads(str(data["layers"])), folder / "float.onnx")
    for build in (onnxruntime, openvino, mnn, executorch):
        try:
            build(folder, samples)
            print(f"built {build.__name__}", file=sys.stderr)
        # Whatever a peer raises: the table has the others.
        except Exception as error:
            print(f"{build.__name__} left out: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)


if __name__ == "__main__":
    main()
