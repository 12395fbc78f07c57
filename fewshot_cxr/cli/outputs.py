"""Files that a command is told to write: of the form that their name says, and no file of somebody else replaced."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from fewshot_cxr.whole_files import check_writable, file_to_replace

_OVERWRITE = "fewshot_cxr.overwrite"
_OURS = 4096  # bytes of a file that are looked at
_WAYS = "name another file, or add --overwrite"
# What the JSON of a command holds that does not say by which one it was made.
_KEYS = {
    "fscxr data read": {"n_rows", "n_records"},
    "fscxr data audit": {"confounding", "near_duplicates"},
    "fscxr data split": {"manifests"},
    "fscxr train siamese": {"card", "history"},
    "fscxr train classifier": {"card", "history"},
    "fscxr predict": {"path", "distances"},
    "fscxr recipes check": {"recipe", "variant"},
    "fscxr explain": {"question", "method"},
    "fscxr demo": {"episodes", "prediction"},
}


class OutFile(click.Path):
    """A file to write, which is refused before any work is done.

    It is refused where its suffix says another form than the command writes, where it cannot be written, and where it
    is there and no earlier run of the command has written it, unless --overwrite is given.

    Args:
        forms: suffix -> what a file of this form holds at its start where the command has written it.
        allow_dash: take - for standard output.
        text: give the path as a text.
    """

    def __init__(self, forms: Mapping[str, bytes], *, allow_dash: bool = False, text: bool = False) -> None:
        super().__init__(dir_okay=False, allow_dash=allow_dash, path_type=str if text else Path)
        self.forms = forms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the file; see the class."""
        given = super().convert(value, param, ctx)
        path, flag = Path(os.fsdecode(given)), "" if param is None else f"{param.opts[0]} "
        if str(path) == "-":
            if self.allow_dash:
                return given
            raise click.UsageError(f"{flag}takes a file; only --json goes to standard output with -")
        suffix = path.suffix.lower()
        if suffix and suffix not in self.forms:
            raise click.UsageError(f"{flag}{path}: no {suffix} is written here, but {' or '.join(self.forms)}")
        check_place(path)
        if path.exists() and file_to_replace(path) and ctx is not None and not ctx.meta.get(_OVERWRITE):
            self._refuse_other(path, flag, ctx)
        return given

    def _refuse_other(self, path: Path, flag: str, ctx: click.Context) -> None:
        form = path.suffix.lower() or next(iter(self.forms))
        with path.open("rb") as file:
            start = file.read(_OURS)
        is_ours = _json_of(path, ctx.command_path) if form == ".json" else self.forms[form] in start
        if start and not is_ours:
            raise click.UsageError(f"{flag}{path} is there, and not written by `{ctx.command_path}`: {_WAYS}")


def _take_overwrite(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[_OVERWRITE] = value


overwrite_flag = click.option(
    "--overwrite",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_take_overwrite,
    help="Replace files that another command, or somebody else, has written.",
)
json_file = OutFile({".json": b""}, allow_dash=True, text=True)
page_file = OutFile({".html": b"fewshot_cxr", ".htm": b"fewshot_cxr"})
figure_file = OutFile({".png": b"fewshot_cxr", ".html": b"fewshot_cxr"})
numbers_file = OutFile({".csv": b"number,finding,mean"})
embeddings_file = OutFile({".safetensors": b"embeddings", ".npy": b"NUMPY", ".csv": b"path,finding,patient,"})
manifest_file = OutFile({".csv": b""})  # see `check_manifest`


def check_place(file: str | Path) -> None:
    """Refuse a file that cannot be written.

    Raises:
        click.UsageError: it is a folder, or nothing can be written there: permissions, a full disk, too long a name.
    """
    try:
        check_writable(file)
    except OSError as error:
        why = error.strerror or str(error)
        raise click.UsageError(f"{file} cannot be written: name a file in a folder that can ({why})") from error


def check_manifest(file: Path, sources: Iterable[str | Path], header: Mapping[str, Any]) -> None:
    """Refuse to replace a manifest, unless it came about in the same way, or --overwrite is given.

    Args:
        file: to write.
        sources: that are read.
        header: what the new lead line says of how the films were read and divided.
    """
    if not file.exists() or click.get_current_context().meta.get(_OVERWRITE):
        return
    if file.resolve() in (Path(source).resolve() for source in sources):
        raise click.UsageError(f"--out {file} is read by this very command: {_WAYS}")
    lead = _lead(file)
    if any(name not in lead or lead[name] != value for name, value in json.loads(json.dumps(header)).items()):
        raise click.UsageError(f"--out {file} is there, of other sources or settings: {_WAYS}")


def _lead(file: Path) -> Mapping[str, Any]:
    """Return what the first line of a manifest of ours says of it; of any other table nothing."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        line = opened.readline()
    try:
        lead = json.loads(line.removeprefix("# "))
    except ValueError:
        return {}
    return lead if isinstance(lead, dict) else {}


def _json_of(path: Path, command: str) -> bool:
    """Return whether a JSON file was written by a command, as far as it says."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return False
    made_by = first.get("made_by")
    if isinstance(made_by, dict):
        return f"{made_by.get('command', '')} ".startswith(f"{command} ")
    return _KEYS.get(command, {"kind"}) <= first.keys()
