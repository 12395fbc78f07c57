"""The command group. A command's module, and with it torch, is loaded only when that command is called."""

import importlib
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import click

from fewshot_cxr._checks import nearest
from fewshot_cxr._visible import UNSEEN, escaped, visible
from fewshot_cxr.cli.ending import answering, exit_code, interrupt, is_interrupted
from fewshot_cxr.cli.failures import WRONG_USE, described, fail
from fewshot_cxr.cli.signals import leave_at_once
from fewshot_cxr.cli.words import called_command, in_flags, spoken

COMMANDS = {
    "demo": ("fewshot_cxr.cli.demo", "Train and judge on synthetic films, offline, in a few minutes."),
    "data": ("fewshot_cxr.cli.data", "Read, audit, split and cache films."),
    "encoder": ("fewshot_cxr.cli.encoder", "Make an encoder from published weights, without training."),
    "train": ("fewshot_cxr.cli.train", "Train an encoder."),
    "episode-eval": ("fewshot_cxr.cli.episode_eval", "Judge an encoder in few-shot episodes."),
    "learning-curve": (
        "fewshot_cxr.cli.learning_curve",
        "Measure how many labelled films are enough, and forecast what more would bring.",
    ),
    "evaluate": (
        "fewshot_cxr.cli.evaluate",
        "Judge the classification of a test split: by exemplars, a classifier, a file of predictions.",
    ),
    "compare": ("fewshot_cxr.cli.compare", "Compare two results on the same films or episodes."),
    "recipes": ("fewshot_cxr.cli.recipes", "Run the published systems, corrected or as published."),
    "embed": ("fewshot_cxr.cli.embed", "Write the embeddings of films to a file."),
    "bank": ("fewshot_cxr.cli.bank", "Keep exemplars in one file: build, add, remove, show, calibrate, merge."),
    "export": ("fewshot_cxr.cli.export", "Write a bank or an encoder for runtimes other than torch."),
    "predict": ("fewshot_cxr.cli.predict", "Name the finding of new films by labelled exemplars."),
    "serve": ("fewshot_cxr.cli.serve", "Serve a bank as a page to drop films on, and as a JSON API."),
    "listen": ("fewshot_cxr.cli.listen", "Answer chest films that arrive by DICOM, each with a page in its own study."),
    "explain": (
        "fewshot_cxr.cli.explain",
        "Show where the network looks: heat maps, and their share in lungs, border and corners.",
    ),
    "plot": ("fewshot_cxr.cli.plot", "Draw one figure from a result, a run, embeddings or films."),
    "report": ("fewshot_cxr.cli.report", "Write one page on runs and results, to read, print and send."),
}
VARIANTS = {("predict", "--runtime", "onnx"): "fewshot_cxr.cli.predict_exported"}
"""(command, flag, value) -> the module of the command where the flag has the value: it loads no torch."""
_VARIANT = "fewshot_cxr.cli.app: the module of this call"
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}
_TRAINING = "; once it has written last.ckpt, it goes on with --resume"
_GOES_ON = {
    "train": _TRAINING,
    "recipes": _TRAINING,
    "predict": "; with --csv it goes on with --resume",
}
# Colours and bars of our own libraries pass, and ends of lines; whatever else a terminal would obey is shown.
_OWN_CONTROLS = re.compile(rf"(\x1b\[(?:[0-9;]*m|[0-9]*[AK]|\?25[hl])|[\n\r\t])|{UNSEEN}")


class Group(click.Group):
    """A group that prints its help where nothing is asked of it, and answers a misspelt command with the nearest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help of a bare group, as any help, with code 0."""
        if not args:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer an unknown command with the nearest known one."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}{nearest(args[0], known)}; `{ctx.command_path} --help` lists them")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    table: Mapping[str, tuple[str, str]] = {}
    """Name of each command -> its module, whose `command` it is, and its one-line help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the story."""
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command's module."""
        if name not in self.table:
            return None
        with answering(leave_at_once):
            module = (ctx.meta.pop(_VARIANT, None) if ctx else None) or self.table[name][0]  # ctx: None asks of no call
            command: click.Command = importlib.import_module(module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Look for what makes a command another one before its module is loaded."""
        for (name, flag, value), module in VARIANTS.items():
            if args[:1] == [name] and (f"{flag}={value}" in args or (flag, value) in pairwise(args)):
                ctx.meta[_VARIANT] = module
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


@click.group(cls=LazyGroup, context_settings=_SETTINGS)
@click.version_option(package_name="fewshot_cxr", prog_name="fscxr")
@click.option("--traceback", is_flag=True, expose_value=False, help="With any command: show where an error came from.")
def fscxr() -> None:
    """Few-shot metric learning for chest X-rays.

    \b
    Example: fscxr data read covidx:/data/COVIDx --out films.csv
             fscxr data split films.csv --out split.csv
             fscxr train siamese --data split.csv --out run
             fscxr episode-eval --checkpoint run --data split.csv --split test
             fscxr predict new.png --checkpoint run --support split.csv

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 a check of --fail-on failed, 4 nothing readable, 70 an unforeseen
    error, 130 interrupted, 143 terminated.
    """


fscxr.table = COMMANDS


class _Stream:
    """A stream in which no name acts on a terminal, whichever library prints it.

    Its reader may leave before its end, as `head` does: what is printed after that goes nowhere, and the command goes
    on, and writes its files.

    Args:
        stream: standard output, or standard error.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write as the stream does."""
        text = _OWN_CONTROLS.sub(lambda found: found[1] or escaped(found[0]), text)
        return self._unbroken(self._stream.write, text) or len(text) if text else 0

    def flush(self) -> None:
        """Flush as the stream does."""
        self._unbroken(self._stream.flush)

    def _unbroken(self, call: Callable[..., Any], *arguments: str) -> Any:
        try:
            return call(*arguments)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if not isinstance(error, BrokenPipeError):  # the disk behind it may be full
                raise OSError(error.errno, error.strerror, self._stream.name) from None
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    warnings.showwarning = _show_warning
    # One that is closed would give its number to the next file that is opened.
    streams = [stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr)]  # noqa: SIM115 - to the very end
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's letters lack is shown as an escape
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = map(_Stream, streams)
    try:
        with answering(interrupt):
            _main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams


def _main() -> NoReturn:
    words = [word for word in sys.argv[1:] if word != "--traceback"]
    try:
        result: Any = fscxr.main(args=words, prog_name="fscxr", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        fail(_interrupted(words), exit_code())
    except Exception as error:  # one line, whatever it is
        if is_interrupted():
            fail(_interrupted(words), exit_code())
        if len(words) < len(sys.argv[1:]) or os.environ.get("FSCXR_TRACEBACK"):
            traceback.print_exc()
        text, code = described(error)
        fail(_in_flags(text, words) if code == WRONG_USE else text, code)


def _interrupted(words: Sequence[str]) -> str:
    return "interrupted" + _GOES_ON.get(next(iter(words), ""), "")  # the first alone: a split may be called train


def _in_flags(text: str, words: Sequence[str]) -> str:
    try:
        return in_flags(text, called_command(fscxr, words))
    except Exception:  # the command cannot be loaded, as the text says
        return text


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    # The other categories speak to the developers of libraries.
    if issubclass(category, UserWarning):
        click.echo(f"fscxr: warning: {visible(' '.join(spoken(str(message)).split()))}", file=sys.stderr)
