"""The ``edge-export`` command. Commands are loaded when called: ``--help`` imports no TensorFlow."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from toolkit import __version__
from toolkit.errors import INTERRUPTED, EdgeExportError

_COMMANDS = {
    "export": "train, convert, gate, bench, validate and report, in one resumable go",
    "train": "train a model and export its SavedModel",
    "convert": "turn a bundle, .keras, .h5 or SavedModel into gated .tflite artifacts",
    "inspect": "what is inside a .tflite",
    "sensitivity": "what int8 costs each layer of a model",
    "bench": "measure .tflite files on targets, fairly",
    "validate": "check that an edge artifact answers as its cloud model does",
    "predict": "answer rows of raw features, on the cloud model or the edge artifact",
    "verify": "recompute every digest of a run, from the weights to each number",
    "report": "the table and the HTML page of a run",
    "recipes": "the conversions there are",
    "targets": "the devices there are, and why one is not reachable",
    "datasets": "the data sets there are",
    "data": "convert tables between CSV and TFRecord",
    "ios": "measure models on an iPhone: a bundle for a Mac, and the results that come back",
    "doctor": "build a real interpreter on every runtime and say what to install",
}
"""Every command and its line in ``--help``; ``toolkit/cli/<name>.py`` holds the click command ``command``."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs or shows its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, Any]:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            from toolkit.errors import unknown_name

            raise unknown_name("command", args[0], _COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edge-export")
def cli() -> None:
    """Train Keras models, export them for cloud and edge, and prove that both agree.

    \b
    Examples:
      edge-export export mnist
      edge-export convert model.keras --recipe int8 --calibration data.npz
      edge-export bench a.tflite b.tflite --target cpu
      edge-export validate a.tflite --against saved_model_dir --data eval.npz
    """


def main() -> None:
    """Entry point: runs a command and turns every error into one line and its exit code."""
    # Native chatter is logged, not shown; set before TensorFlow is imported, and only by the program itself.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GLOG_minloglevel", "2")
    debug = "--debug" in sys.argv or bool(os.environ.get("EDGE_EXPORT_DEBUG"))
    try:
        code = cli.main(standalone_mode=False, prog_name="edge-export")
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except EdgeExportError as error:
        _fail(str(error), error.exit_code, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        where = f" (see '{error.ctx.command_path} --help')" if isinstance(error, click.UsageError) and error.ctx else ""
        _fail(error.format_message() + where, error.exit_code, debug)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; run the same command again to go on where it stopped", INTERRUPTED, False)
    except BrokenPipeError:
        # The reader of our stdout has gone (`| head`): nothing is left to say, and flushing would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; check the place and the space left there", 3, debug)
    # Last resort: a defect of ours still ends in one line, with the way to the traceback.
    except Exception as error:
        _fail(f"internal error: {type(error).__name__}: {error}; run again with --debug and report it", 1, debug)


def _fail(line: str, code: int, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"error: {' '.join(line.split())}", file=sys.stderr, flush=True)
    sys.exit(code)
