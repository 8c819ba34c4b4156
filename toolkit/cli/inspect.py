"""``inspect``: what is inside a .tflite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli import options

if TYPE_CHECKING:
    from toolkit.records import Signature


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--diff", type=click.Path(path_type=Path), help="Another .tflite: say how it differs from FILE.")
@click.option("--snippet", help="Print code that calls FILE, in python, kotlin or swift, and nothing else.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Also write what is shown as a page, FILE.html.")
@click.option("--runtimes", is_flag=True, help="On which runtimes does it load, run and agree? Exit 1 if one does not.")
@options.fleet
@click.option("--data", help="Samples for --runtimes: an npz named like the inputs.  [default: made up]")
@options.output
def command(
    file: Path,
    diff: Path | None,
    snippet: str | None,
    page: Path | None,
    runtimes: bool,
    fleet: tuple[str, ...],
    data: str | None,
    as_json: bool,
    run_dir: Path | None,
) -> int:
    """Show the operators, tensors, inputs and outputs of FILE.

    \b
    Examples:
      edge-export inspect a.tflite
      edge-export inspect a.tflite --json
      edge-export inspect float32.tflite --diff int8.tflite
      edge-export inspect int8.tflite --snippet kotlin
      edge-export inspect a.tflite --html a.html
      edge-export inspect a.tflite --runtimes
      edge-export inspect a.tflite --runtime tflite-runtime==2.9.1 --runtime ai-edge-litert==1.4.0
    """
    from converters import inspect, metadata
    from toolkit import flatbuffer
    from toolkit.cli import agreement
    from toolkit.errors import UsageError
    from toolkit.records import to_json
    from toolkit.store import gzip_size, sha256_file

    for path in (file, *([diff] if diff else [])):
        if not path.exists():
            raise UsageError("there is no such file", where=str(path), remedy="check the path")
    model = flatbuffer.read(file)
    if snippet is not None:
        click.echo(_snippet(file, model, snippet), nl=False)
        return 0
    signature = model.signature()
    found: dict[str, Any] = {
        "schema_version": 1,
        "path": str(file),
        "sha256": sha256_file(file),
        "size_bytes": model.size_bytes,
        "gzip_bytes": gzip_size(file),
        "macs": model.macs(),
        "ops": model.op_counts(),
        "op_versions": {op.custom or op.name: op.version for op in model.every_op()},
        "inputs": to_json(signature.inputs),
        "outputs": to_json(signature.outputs),
        "signatures": [s.key for s in model.signatures],
        "signature_details": to_json(model.signatures),
        "metadata": sorted(model.metadata),
        "tensors": [_tensor(t) for t in model.tensors],
        "contract": metadata.read(model, where=str(file)),
        **inspect.analyse(file, model),
    }
    if diff is not None:
        found["diff"] = {"path": str(diff), **inspect.difference(model, flatbuffer.read(diff))}
    agrees = agreement.asked(file, runtimes, fleet, data)
    found.update(agrees)
    if page is not None:
        from toolkit.report import inspection

        inspection.write(page, found, inspect.difference_lines(found["diff"]) if diff is not None else ())
    if as_json:
        options.print_json(found)
        return agreement.code(agrees)
    click.echo(f"{file}: {model.size_bytes:,} bytes, {found['gzip_bytes']:,} gzipped, {found['macs']:,} MACs")
    _edges(signature)
    for further in model.further():
        click.echo(f"signature {further.key}")
        _edges(further)
    click.echo("operators  " + ", ".join(f"{count} {name}" for name, count in found["ops"].items()))
    click.echo("largest constants")
    constants = sorted(model.constants(), key=lambda t: -t.data_bytes)
    for tensor in constants[:10]:
        zeros = "" if tensor.zero_share is None else f"  {tensor.zero_share:.0%} zeros"
        click.echo(
            f"  {tensor.data_bytes:>10,} bytes  {tensor.dtype.lower():<8} {_shape(tensor.shape)}  {tensor.name}{zeros}"
        )
    for line in inspect.lines(found):
        click.echo(line)
    if diff is not None:
        click.echo(f"{diff} against {file}")
        for line in inspect.difference_lines(found["diff"]):
            click.echo(f"  {line}")
    if page is not None:
        click.echo(f"page  {page}")
    return agreement.show(agrees)


def _snippet(file: Path, model: Any, language: str) -> str:
    """The code of the file's contract, or of one made from its tensors."""
    from converters import metadata, snippets
    from toolkit.errors import unknown_name

    if language not in snippets.languages():
        raise unknown_name("language", language, snippets.languages())
    known = metadata.read(model, where=str(file)) or metadata.of_file(file.read_bytes())
    return snippets.snippets(known, file.name)[language]


def _edges(signature: Signature) -> None:
    for side in ("input", "output"):
        for spec in getattr(signature, f"{side}s"):
            scale = f"  scale {spec.scale:.6g}, zero point {spec.zero_point}" if spec.scale else ""
            click.echo(f"{side:<8}{spec.name}  {spec.dtype}  {_shape(spec.shape)}{scale}")


def _tensor(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.lower(),
        "bytes": tensor.data_bytes,
        "quantized": bool(tensor.scales),
        "channels": len(tensor.scales),
        "sparse": tensor.sparse,
        "zero_share": tensor.zero_share,
    }


def _shape(shape: Any) -> str:
    return "[" + ", ".join("any" if d is None else str(d) for d in shape) + "]"
