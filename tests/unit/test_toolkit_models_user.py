"""A model of the user's own: what may be in the file, and what is said of what may not."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import BrokenInput, EdgeExportError, UsageError
from toolkit.models import Blueprint, Layers, Task, user
from toolkit.records import TensorSpec

PRICE = Task(kind="regression", label="price", centre=1.0, spread=2.0)
DIGIT = Task(kind="classification", label="digit", classes=3)
X = (TensorSpec(name="x", shape=(None, 4), dtype="float32"),)

GOOD = """
import tf_keras
def build_model(blueprint):
    x = tf_keras.Input((4,), name="x")
    outputs = blueprint.task.classes or 1
    y = tf_keras.layers.Dense(outputs, activation=blueprint.layers.activation)(x)
    return tf_keras.Model(x, y)
"""
PLAIN = GOOD.replace("(blueprint):", "():").replace("blueprint.task.classes or 1", "1").replace(
    "activation=blueprint.layers.activation", "name='plain'"
)  # fmt: skip


def built(path: Path, text: str, *, task: Task = PRICE, function: str = "", **options: Any) -> Any:
    path.write_text(text)
    inputs = options.pop("inputs", X)
    module = f"{path}{':' if function else ''}{function}"
    return user.build(Blueprint(variant="user", task=task, layers=Layers(**options), inputs=inputs, module=module))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.py"


pytestmark = pytest.mark.slow


def test_a_function_with_a_blueprint_sees_task_and_options(path: Path) -> None:
    model = built(path, GOOD, task=DIGIT, activation="tanh")
    assert model.output_shape == (None, 3)
    assert model.layers[-1].activation.__name__ == "tanh"
    by_name = GOOD.replace("(blueprint):", "(*, blueprint=None):")
    assert built(path, by_name, task=DIGIT, activation="tanh").output_shape == (None, 3)
    other = GOOD.replace("build_model", "another")
    assert built(path, other, function="another").output_shape == (None, 1)


def test_a_function_without_argument_cannot_see_options(path: Path) -> None:
    assert built(path, PLAIN).layers[-1].name == "plain"
    with pytest.raises(UsageError, match="takes no argument, so it cannot see --activation") as caught:
        built(path, PLAIN, dropout=0.2)
    assert caught.value.where == str(path)


def test_a_sequential_model_will_do(path: Path) -> None:
    text = "import tf_keras\ndef build_model():\n    return tf_keras.Sequential([tf_keras.Input((4,), name='x'), "
    assert built(path, text + "tf_keras.layers.Dense(1)])").input_names == ["x"]


def test_neighbours_can_be_imported_even_when_the_function_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("early_neighbour", "late_neighbour"):
        (path.parent / f"{name}.py").write_text("UNITS = 1")
    before = list(sys.path)
    text = PLAIN.replace("import tf_keras", "import tf_keras, early_neighbour").replace(
        "    x = ", "    import late_neighbour\n    x = ", 1
    )
    assert built(path, text.replace("Dense(outputs", "Dense(late_neighbour.UNITS")).output_shape == (None, 1)
    assert sys.path == before
    for name in ("early_neighbour", "late_neighbour"):
        monkeypatch.delitem(sys.modules, name)


def test_what_the_file_prints_is_no_result(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(path, "print('hello')\n" + PLAIN.replace("    x = ", "    print('building')\n    x = ", 1))
    said = capsys.readouterr()
    assert said.out == ""
    assert "hello" in said.err
    assert "building" in said.err


def test_a_class_of_the_users_own_is_registered_once(path: Path) -> None:
    text = "import tf_keras\n@tf_keras.saving.register_keras_serializable('mine')\n"
    text += "class Double(tf_keras.layers.Layer):\n    def call(self, x):\n        return 2 * x\n" + PLAIN
    text = text.replace("tf_keras.Model(x, y)", "tf_keras.Model(x, Double()(y))")
    assert type(built(path, text).layers[-1]).__name__ == "Double"
    assert type(built(path, text + "\n").layers[-1]).__name__ == "Double", "and again when the file has changed"


def test_a_changed_file_is_imported_anew(path: Path) -> None:
    import os

    built(path, PLAIN)
    path.write_text(PLAIN.replace("plain", "changed"))
    os.utime(path, ns=(1, 1))
    assert user.load(str(path))().layers[-1].name == "changed"


REGRESSION = "import tf_keras\nfrom tf_keras import Input, Model, layers\ndef build_model():\n    "


NOT_A_FILE = [
    ("def other(): pass\ndef model(): pass", UsageError, "has no function 'build_model'; it has: other, model"),
    ("x = 1", UsageError, "has no function 'build_model'; it has: no function at all"),
    ("build_model = 5", UsageError, "has no function 'build_model'"),
    ("def build_model(:", BrokenInput, "cannot be imported (SyntaxError: invalid syntax (mine.py, line 1))"),
    ("\n\nimport nowhere", BrokenInput, "mine.py:3: cannot be imported (ModuleNotFoundError: No module named 'now"),
    ("import sys\nsys.exit(0)", BrokenInput, "mine.py:2: cannot be imported (SystemExit: 0)"),
    (
        "def build_model():\n    def deeper():\n        raise ValueError('so\\nsad')\n    deeper()",
        BrokenInput,
        "mine.py:3: build_model failed (ValueError: so); correct it; --debug shows the traceback",
    ),
    ("def build_model(a, b): pass", UsageError, "build_model wants 2 arguments; let it take one"),
    ("def build_model(): pass", BrokenInput, "returned a builtins.NoneType; return the model"),
    (PLAIN.replace("tf_keras", "keras"), BrokenInput, "import tf_keras and build it with its layers"),
]
# (What tf.keras is depends on what the process imported first: no case can be made of it.)
NOT_A_MODEL = [
    ("return tf_keras.Sequential([layers.Dense(1)])", PRICE, "returned a model without known inputs, or"),
    (
        "x = Input((4,), name='x'); y = layers.Dense(1)(x); return Model(x, [y, y])",
        PRICE,
        "or with several outputs; return a functional model with one output",
    ),
    (
        "x = Input((4,)); return Model(x, layers.Dense(1)(x))",
        PRICE,
        "the data have no array for the model's input input_1 (they have: x); name the inputs like the data's arrays",
    ),
    (
        "x = Input((5,), name='x'); return Model(x, layers.Dense(1)(x))",
        PRICE,
        "its input 'x' is float32 [N, 5], the data have float32 [N, 4]; write tf_keras.Input((4,), name='x', dtype=",
    ),
    (
        "x = Input((4,), name='x', dtype='int32'); return Model(x, layers.Dense(1)(x))",
        PRICE,
        "its input 'x' is int32 [N, 4], the data have float32 [N, 4]",
    ),
    (
        "x = Input((4, 1), name='x'); return Model(x, layers.Dense(1)(layers.Flatten()(x)))",
        PRICE,
        "its input 'x' is float32 [N, 4, 1], the data have float32 [N, 4]",
    ),
    (
        "x = Input((4,), name='x'); return Model(x, layers.Dense(2)(x))",
        PRICE,
        "gives [N, 2] where one value a row is wanted; end it with Dense(1)",
    ),
    (
        "x = Input((4,), name='x'); return Model(x, layers.Reshape(())(layers.Dense(1)(x)))",
        PRICE,
        "gives [N] where one value a row is wanted",
    ),
    (
        "x = Input((4,), name='x'); return Model(x, layers.Dense(2)(x))",
        DIGIT,
        "gives 2 numbers for 3 classes; end it with Dense(blueprint.task.classes, activation='softmax')",
    ),
]


@pytest.mark.parametrize(
    ("text", "task", "kind", "said"),
    [(text, PRICE, kind, said) for text, kind, said in NOT_A_FILE]
    + [(REGRESSION + text, task, BrokenInput, said) for text, task, said in NOT_A_MODEL],
)
def test_what_is_said_of_a_file_that_will_not_do(
    path: Path, text: str, task: Task, kind: type[EdgeExportError], said: str
) -> None:
    import tf_keras

    tf_keras.backend.clear_session()  # which names an input without a name
    with pytest.raises(kind, match=re.escape(said)) as caught:
        built(path, text, task=task)
    assert "mine.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", [None, "nowhere.py", "nowhere.py:f", "notes.txt", "."])
def test_no_such_file(module: str | None) -> None:
    with pytest.raises(UsageError, match="give --module FILE"):
        user.build(Blueprint(variant="user", task=PRICE, inputs=X, module=module))
