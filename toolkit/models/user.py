"""A model of the user's own: any function of theirs that builds one, on any data file of theirs.

``build_model()`` or ``build_model(blueprint)`` returns a functional or sequential tf_keras model whose inputs are named
like the data's arrays; with a blueprint it can follow the command line's options and the columns of a table.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import BrokenInput, UsageError
from toolkit.models import Blueprint, Layers, Variant

SUMMARY = "your own build_model, from a Python file: --module FILE.py:build_model --data FILE"
DATASET = None
VARIANTS = {"user": Variant(summary="whatever the function builds", epochs=20)}
DEFAULT_VARIANT = "user"
FUNCTION = "build_model"


def build(blueprint: Blueprint) -> Any:
    """The user's model, uncompiled.

    Raises:
        UsageError: no ``--module``, no such file or function, options that a function without argument cannot see.
        BrokenInput: the file cannot be imported, the function fails, or what it returns is no tf_keras model that fits.
    """
    if blueprint.module is None:
        raise UsageError("--module is missing", remedy="give --module FILE.py:build_model")
    function = load(blueprint.module)
    given = _takes_blueprint(function, blueprint.module)
    if not given and blueprint.layers != Layers():
        raise UsageError(
            f"{function.__name__}() takes no argument, so it cannot see --activation, --dropout and the like",
            where=blueprint.module,
            remedy="let it take one (the blueprint), or leave the options out",
        )
    path, _ = split(blueprint.module)
    with _running(path, f"{function.__name__} failed"):
        model = (
            (function(blueprint=blueprint) if given == "blueprint" else function(blueprint)) if given else function()
        )
    return _checked(model, blueprint)


def split(module: str) -> tuple[Path, str]:
    """File and function of ``FILE.py:FUNCTION``; the function is ``build_model`` where it is left out.

    Raises:
        UsageError: there is no such file.
    """
    file, _, function = module.rpartition(":") if ".py:" in module else (module, "", "")
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise UsageError("is no Python file", where=file, remedy="give --module FILE.py:build_model")
    return path, function or FUNCTION


def load(module: str) -> Any:
    """The function, its file imported once: what that registers with tf_keras is known from then on.

    Raises:
        UsageError: no such file or function.
        BrokenInput: the file cannot be imported.
    """
    path, name = split(module)
    imported = _imported(path.resolve(), path.stat().st_mtime_ns)
    function = getattr(imported, name, None)
    if not callable(function):
        own = imported.__name__
        there = [n for n, v in vars(imported).items() if inspect.isfunction(v) and v.__module__ == own]
        raise UsageError(
            f"has no function {name!r}", where=str(path), remedy=f"it has: {', '.join(there) or 'no function at all'}"
        )
    return function


def objects(path: Path) -> dict[str, Any]:
    """The classes and functions that a file defines, by name; importing it runs it.

    Raises:
        UsageError: it is no Python file, or defines nothing.
        BrokenInput: it cannot be imported.
    """
    if not path.is_file() or path.suffix != ".py":
        raise UsageError("is no Python file", where=str(path), remedy="give --code FILE.py")
    imported = _imported(path.resolve(), path.stat().st_mtime_ns)
    own = imported.__name__
    found = {
        name: value
        for name, value in vars(imported).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == own
    }
    if not found:
        raise UsageError("defines no class and no function", where=str(path), remedy="give the file with the layers")
    return found


@functools.lru_cache(maxsize=8)
def _imported(path: Path, changed: int) -> Any:
    """The file as a module; imported again only if it ``changed`` (tf_keras registers no class twice)."""
    own = f"edge_export_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(own, path)
    assert spec is not None
    assert spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    sys.modules[own] = imported
    with _running(path, "cannot be imported"):
        spec.loader.exec_module(imported)
    return imported


@contextlib.contextmanager
def _running(path: Path, what: str) -> Iterator[None]:
    """Runs the user's code: beside its neighbours, which it can import, and off stdout, which is for results."""
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    # Whatever it raises, or should it end the program: the file is the cause.
    except (Exception, SystemExit) as error:
        raise _failed(error, path, what) from error
    finally:
        with contextlib.suppress(ValueError):  # it may have tidied up behind itself
            sys.path.remove(beside)


def _takes_blueprint(function: Any, module: str) -> str | None:
    """Its name, where it must be given by name; else ``"first"``, or ``None`` if the function takes nothing."""
    parameters = list(inspect.signature(function).parameters.values())
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        raise UsageError(
            f"{function.__name__} wants {len(needed)} arguments", where=module, remedy="let it take one, the blueprint"
        )
    if any(p.name == "blueprint" for p in parameters):
        return "blueprint" if all(p.kind != p.POSITIONAL_ONLY for p in parameters) else "first"
    return "first" if needed else None


def _checked(model: Any, blueprint: Blueprint) -> Any:
    import tf_keras

    where = str(blueprint.module)
    if not isinstance(model, tf_keras.Model):
        other = type(model).__module__.partition(".")[0]
        remedy = "import tf_keras and build it with its layers" if other == "keras" else "return the model"
        raise BrokenInput(f"returned a {type(model).__module__}.{type(model).__name__}", where=where, remedy=remedy)
    if not model.inputs or len(model.outputs) != 1:
        raise BrokenInput(
            "returned a model without known inputs, or with several outputs",
            where=where,
            remedy="return a functional model with one output, or a Sequential that begins with tf_keras.Input",
        )
    there = {spec.name for spec in blueprint.inputs}
    wrong = [name for name in model.input_names if name not in there]
    if wrong:
        raise BrokenInput(
            f"the data have no array for the model's input {', '.join(wrong)} (they have: {', '.join(sorted(there))})",
            where=where,
            remedy="name the inputs like the data's arrays: tf_keras.Input(..., name=...)",
        )
    _must_take(model, blueprint, where)
    task, shape = blueprint.task, tuple(model.outputs[0].shape)
    outputs = shape[-1] if len(shape) > 1 else 0
    if task.kind == "regression" and (len(shape) != 2 or outputs != 1):
        raise BrokenInput(
            f"gives {_shown(shape)} where one value a row is wanted", where=where, remedy="end it with Dense(1)"
        )
    if task.kind == "classification" and (len(shape) != 2 or outputs != task.classes):
        raise BrokenInput(
            f"gives {outputs} numbers for {task.classes} classes",
            where=where,
            remedy="end it with Dense(blueprint.task.classes, activation='softmax')",
        )
    return model


def _must_take(model: Any, blueprint: Blueprint, where: str) -> None:
    """Refuses inputs of another shape or type than the data's: devices are fed the data as they are."""
    there = {spec.name: spec for spec in blueprint.inputs}
    for name, tensor in zip(model.input_names, model.inputs, strict=True):
        spec, shape = there[name], tuple(tensor.shape)
        fits = len(shape) == len(spec.shape) and all(
            have is None or have == has for have, has in zip(shape[1:], spec.shape[1:], strict=True)
        )
        dtype = tensor.dtype.name
        if not fits or dtype != spec.dtype:
            raise BrokenInput(
                f"its input {name!r} is {dtype} {_shown(shape)}, the data have {spec.dtype} {_shown(spec.shape)}",
                where=where,
                remedy=f"write tf_keras.Input({spec.shape[1:]}, name={name!r}, dtype={spec.dtype!r})",
            )


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join(['N', *('any' if size is None else str(size) for size in shape[1:])])}]"


def _failed(error: BaseException, path: Path, what: str) -> BrokenInput:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    where = f"{path}:{lines[-1]}" if lines else str(path)
    if isinstance(error, (UsageError, BrokenInput)):
        return BrokenInput(error.what, where=error.where or where, remedy=error.remedy)
    first = next((line for line in str(error).splitlines() if line.strip()), "no message")
    return BrokenInput(
        f"{what} ({type(error).__name__}: {first[:200]})", where=where, remedy="correct it; --debug shows the traceback"
    )
