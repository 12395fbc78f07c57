"""Files that a command is told to write: of the form that their name says, and no file of somebody else replaced."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from fewshot_cxr import _kinds
from fewshot_cxr.whole_files import check_writable

_OVERWRITE, _KEEP_PATHS = "fewshot_cxr.overwrite", "fewshot_cxr.keep_paths"
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

    It is refused where its suffix says another form than the command writes, where it cannot be written, and where
    something else is there than the command writes. A JSON file of another command gives way to --overwrite.

    Args:
        forms: suffix -> whether the start of a file is of this form and kind, as the command writes it.
        allow_dash: take - for standard output.
        text: give the path as a text.
    """

    def __init__(self, forms: Mapping[str, _kinds.IsKind], *, allow_dash: bool = False, text: bool = False) -> None:
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
        _check_kind(path, self.forms[suffix or next(iter(self.forms))], flag)
        return given


class _JsonFile(OutFile):
    """A JSON file to write, in place of one of the same command alone, unless --overwrite is given."""

    def __init__(self) -> None:
        super().__init__({".json": lambda _: True}, allow_dash=True, text=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the file; see the class."""
        given, path = super().convert(value, param, ctx), Path(os.fsdecode(value))
        command = "" if ctx is None else ctx.command_path
        if _kinds.is_taken(path) and not _json_of(path, command):
            flag = "" if param is None else f"{param.opts[0]} "
            if not any(_json_of(path, other) for other in (*_KEYS, "fscxr")):
                raise click.UsageError(f"{flag}{path} is there, and {_kinds.NOT_OURS}")
            if ctx is not None and not ctx.meta.get(_OVERWRITE):
                raise click.UsageError(f"{flag}{path} is there, and not written by `{command}`: {_WAYS}")
        return given


def _noted(key: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    """Return what notes a flag for whoever writes later in this command."""

    def take(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[key] = value

    return take


overwrite_flag = click.option(
    "--overwrite",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_noted(_OVERWRITE),
    help="Replace the JSON of another command, a manifest of other films or settings; never a file of another kind.",
)
keep_paths_flag = click.option(
    "--keep-paths",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_noted(_KEEP_PATHS),
    help="Name folders of this machine in what is written.  [default: leave them out]",
)
json_file = _JsonFile()
page_file = OutFile({".html": _kinds.is_page, ".htm": _kinds.is_page})
picture_file = OutFile({".png": _kinds.is_figure, ".svg": _kinds.is_drawing})
figure_file = OutFile({".png": _kinds.is_figure, ".html": _kinds.is_page})
numbers_file = OutFile({".csv": _kinds.begins(b"number,finding,mean")})
embeddings_file = OutFile(_kinds.EMBEDDINGS)
bank_file = OutFile({".bank": _kinds.is_tensors("bank")})
onnx_file = OutFile({".onnx": _kinds.is_onnx})
answers_file = OutFile({".csv": _kinds.begins(b"path,finding,answer,reason")})
_is_manifest = _kinds.begins(b"# {")
manifest_file = OutFile({".csv": _is_manifest})  # see `check_manifest`, too


def keeps_paths() -> bool:
    """Return whether what is written may name folders of this machine (--keep-paths)."""
    return bool(getattr(click.get_current_context(silent=True), "meta", {}).get(_KEEP_PATHS))


def leaves_stdout() -> bool:
    """Return whether standard output is for JSON alone (--json -), so that all else goes to standard error."""
    return getattr(click.get_current_context(silent=True), "params", {}).get("json_file") == "-"


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


def check_folder(out: Path, written: Iterable[str], *, mark: str, is_ours: _kinds.IsKind) -> None:
    """Refuse a folder that cannot be written into, or where a name that is to be written is somebody else's.

    Args:
        out: the folder.
        written: names in it.
        mark: the file that says that all of them are ours.
        is_ours: whether the start of that file says so.

    Raises:
        click.UsageError: it is refused.
    """
    check_place(out / mark)
    taken = next((name for name in written if os.path.lexists(out / name)), None)
    try:
        is_marked = (out / mark).is_file()
        _kinds.refuse_other_kind(out / mark, is_ours)
    except FileExistsError:
        is_marked = False
    if taken is not None and not is_marked:
        raise click.UsageError(f"--out {out} holds {taken}, which this command has not written: name a new folder")


def check_manifest(file: Path, sources: Iterable[str | Path], header: Mapping[str, Any]) -> None:
    """Refuse to replace a manifest, unless it came about in the same way, or --overwrite is given.

    Args:
        file: to write.
        sources: that are read.
        header: what the new lead line says of how the films were read and divided.
    """
    _check_kind(file, _is_manifest, "--out ")
    if not _kinds.is_taken(file) or click.get_current_context().meta.get(_OVERWRITE):
        return
    if file.resolve() in (Path(source).resolve() for source in sources):
        raise click.UsageError(f"--out {file} is read by this very command: {_WAYS}")
    lead = _lead(file)
    if any(name not in lead or lead[name] != value for name, value in json.loads(json.dumps(header)).items()):
        raise click.UsageError(f"--out {file} is there, of other sources or settings: {_WAYS}")


def _check_kind(path: Path, is_kind: _kinds.IsKind, flag: str) -> None:
    try:
        _kinds.refuse_other_kind(path, is_kind)
    except FileExistsError as error:
        raise click.UsageError(f"{flag}{error}") from error


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
    """Return whether a JSON file was written by a command, or one below it, as far as it says."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    if value in ([], {}):
        return True  # nothing is lost
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return False
    made_by = first.get("made_by")
    if isinstance(made_by, dict):
        return f"{made_by.get('command', '')} ".startswith(f"{command} ")
    return _KEYS.get(command, {"kind", "n_films"}) <= first.keys()
