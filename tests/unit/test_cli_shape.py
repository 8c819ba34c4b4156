"""The command line as a whole: light, documented, and polite about mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

import converters.recipes
import devices.targets
import toolkit.datasets
import toolkit.models
from toolkit import cli

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "ai_edge_litert", "matplotlib", "numpy")
COMMANDS = cli.cli.list_commands(click.Context(cli.cli))
GROUPS = ("recipes", "targets", "datasets", "data", "ios")
PARTS = ("recipes list", "targets list", "ios bundle", "ios import")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; which heavy modules it had imported is the last line of stderr."""
    code = (
        "import sys, atexit\n"
        f"heavy = {HEAVY!r}\n"
        "atexit.register(lambda: print('loaded', *[m for m in heavy if m in sys.modules], file=sys.stderr))\n"
        "from toolkit.cli import main\n"
        "main()\n"
    )
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("words", [(), *[(c,) for c in COMMANDS], *[tuple(w.split()) for w in PARTS]], ids=" ".join)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    done = run(*words, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "loaded", done.stderr
    assert "Usage: edge-export" in done.stdout


@pytest.mark.parametrize("words", [c for c in (*COMMANDS, *PARTS) if c not in GROUPS])
def test_help_has_examples_and_the_shared_options(words: str) -> None:
    said = run(*words.split(), "--help").stdout
    assert "Examples:" in said
    assert f"edge-export {words}" in said
    assert all(option in said for option in ("--json", "--run-dir", "--debug"))


@pytest.mark.parametrize("kind", ["recipes", "targets"])
def test_lists_import_nothing_heavy_and_keep_the_contract(kind: str) -> None:
    done = run(kind, "list", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "loaded", done.stderr
    rows = json.loads(done.stdout)[kind]
    fields = {
        "recipes": {"name", "needs", "summary"},
        "targets": {"name", "reachable", "why", "emulated", "platform", "runtimes"},
    }
    assert rows
    assert all(fields[kind] <= set(row) for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("exprot", "mnist"), 2, "did you mean export"),
        (("export", "mnits"), 2, "did you mean mnist"),
        (("export", "mnist", "--model", "cn"), 2, "cnn"),
        (("export", "mnist", "--recipe", "int9"), 2, "int8"),
        (("export", "mnist", "--target", "cpo"), 2, "did you mean cpu"),
        (("export", "mnist", "--epochs", "0"), 2, "epochs"),
        (("export", "mnist", "--epochs", "many"), 2, "--epochs"),
        (("export", "mnist", "--dropout", "1.0"), 2, "dropout"),
        (("train", "mnist", "--strategy", "multi-worker"), 2, "TF_CONFIG"),
        (("train", "mnist", "--proximal"), 2, "--l1"),
        (("train", "user", "--data", "x.npz"), 2, "--module"),
        (("train", "dnn", "--data", "nowhere.csv", "--label", "y"), 2, "nowhere.csv"),
        (("train", "wide-deep", "--data", "adlt"), 2, "did you mean adult"),
        (("export",), 2, "MODEL"),
        (("convert", "nowhere.keras", "--recipe", "int8"), 2, "nowhere.keras"),
        (("convert", "nowhere.keras"), 2, "--recipe"),
        (("convert", "x", "--no-such-option"), 2, "--no-such-option"),
        (("bench",), 2, "FILES"),
        (("bench", "nowhere.tflite"), 2, "nowhere.tflite"),
        (("validate", "nowhere.tflite", "--against", "x"), 2, "nowhere.tflite"),
        (("inspect", "nowhere.tflite"), 2, "nowhere.tflite"),
        (("inspect", "nowhere.tflite", "--runtimes"), 2, "nowhere.tflite"),
        (("convert", "x.keras", "--recipe", "int8", "--runtime", "tflite-runtime"), 2, "NAME==VERSION"),
        (("convert", "x.keras", "--recipe", "int8", "--runtime", "onnx==1.0"), 2, "unknown runtime 'onnx'"),
        (("export", "mnist", "--runtime", "tflite-runtime==newest"), 2, "'newest' is no version"),
        (("doctor", "--runtime", "tflite"), 2, "did you mean tflite-runtime"),
        (("recipes", "list", "--runtime", "tflite-runtime==2.14.0"), 2, "--model"),
        (("predict", "nowhere.tflite"), 2, "--input"),
        (("predict", "nowhere.tflite", "--input", "x.csv"), 2, "nowhere.tflite"),
        (("predict", "nowhere.tflite", "--input", "x.xml"), 2, ".jsonl"),
        (("ios", "bundle", "nowhere.tflite", "--out", "phone"), 2, "nowhere.tflite"),
        (("ios", "import", "nowhere.zip"), 2, "nowhere.zip"),
        (("bench", "nowhere.tflite", "--target", "ios:X/gpu"), 2, "nowhere.tflite"),
        (("report", "nowhere"), 2, "nowhere"),
        (("report",), 2, "run directory"),
    ],
)
def test_a_mistake_is_one_line_with_the_right_exit_code(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    lines = [x for x in done.stderr.strip().splitlines() if not x.startswith("loaded")]
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert list(tmp_path.iterdir()) == [], "a mistake leaves nothing behind"


def documented(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_every_command_recipe_target_data_set_and_model_is_documented() -> None:
    missing = [c for c in COMMANDS if f"## `{c}`" not in documented("commands.md")]
    missing += [r for r in converters.recipes.names() if f"| `{r}` |" not in documented("recipes.md")]
    missing += [t for t in devices.targets.names() if f"## `{t}`" not in documented("targets.md")]
    missing += [d for d in toolkit.datasets.names() if f"## `{d}`" not in documented("data.md")]
    missing += [m for m in toolkit.models.names() if f"## `{m}`" not in documented("models.md")]
    assert missing == []


def test_every_option_is_documented() -> None:
    page = documented("commands.md")
    missing = []
    for name in COMMANDS:
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        parts = command.commands.values() if isinstance(command, click.Group) else [command]
        for part in parts:
            missing += [
                f"{name} {o}" for p in part.params if isinstance(p, click.Option) for o in p.opts if f"`{o}" not in page
            ]
    assert missing == []


def test_every_recipe_says_what_it_is() -> None:
    for name in converters.recipes.names():
        recipe = converters.recipes.load(name).RECIPE
        assert recipe.name == name
        assert recipe.summary
        assert recipe.tolerance.reason
        assert set(recipe.needs) <= {"calibration", "fine-tuning"}
