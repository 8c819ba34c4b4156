"""A model of the user's own: any function of theirs that builds one, on any data file of theirs.

``build_model()`` or ``build_model(blueprint)`` returns a functional or sequential tf_keras model whose inputs are named
like the data's arrays; with a blueprint it can follow the command line's options and the columns of a table.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
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
    try:
        model = function(blueprint) if given else function()
    # It is the user's code: whatever it raises, the function is the cause.
    except Exception as error:
        raise _failed(error, blueprint.module, f"{function.__name__} failed") from error
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


@functools.lru_cache(maxsize=8)
def _imported(path: Path, changed: int) -> Any:
    """The file as a module; imported again only if it ``changed`` (tf_keras registers no class twice)."""
    own = f"edge_export_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(own, path)
    assert spec is not None
    assert spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    # Its neighbours can be imported, as if it were run as a program.
    sys.modules[own] = imported
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(imported)
    except Exception as error:
        raise _failed(error, str(path), "cannot be imported") from error
    finally:
        sys.path.remove(str(path.parent))
    return imported


def _takes_blueprint(function: Any, module: str) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        raise UsageError(
            f"{function.__name__} wants {len(needed)} arguments", where=module, remedy="let it take one, the blueprint"
        )
    return bool(needed) or any(p.name == "blueprint" for p in parameters)


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
    task, outputs = blueprint.task, model.outputs[0].shape[-1]
    if task.kind == "classification" and outputs != task.classes:
        raise BrokenInput(
            f"gives {outputs} numbers for {task.classes} classes",
            where=where,
            remedy="end it with Dense(blueprint.task.classes, activation='softmax')",
        )
    return model


def _failed(error: Exception, where: str, what: str) -> BrokenInput:
    if isinstance(error, (UsageError, BrokenInput)):
        return BrokenInput(error.what, where=error.where or where, remedy=error.remedy)
    first = next((line for line in str(error).splitlines() if line.strip()), "no message")
    return BrokenInput(
        f"{what} ({type(error).__name__}: {first[:200]})", where=where, remedy="correct it; --debug shows the traceback"
    )
