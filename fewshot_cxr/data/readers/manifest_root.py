"""Where the films of a manifest lie: below it, or in a folder that this user's own commands have kept on this machine.

A manifest may come by mail. So it does not say where films lie on the machine that wrote it, and is not believed where
it says so: it holds a random key, and a folder of this user alone has what the key stands for.
"""

import os
import re
import secrets
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fewshot_cxr._state import state_folder
from fewshot_cxr.whole_files import write_bytes

_KEY = re.compile("[0-9a-f]{32}")
_MOST_KEPT = 1_000  # roots; those that were not written for longest are forgotten


def header_root(root: Path, manifest: Path, *, keep_paths: bool = False) -> dict[str, str]:
    """Return what the header of a manifest is to say of the root of its films, and keep the root for this user.

    Args:
        root: of the films.
        manifest: to write.
        keep_paths: name a root that is not below the manifest's own folder, too.

    Returns:
        {} where it is the manifest's own folder; else `root_key`, and `root`, relative, where it is below it.
    """
    root, home = root.resolve(), manifest.parent.resolve()
    if root == home:
        return {}
    is_below = root.is_relative_to(home)
    told = {"root": root.relative_to(home).as_posix()} if is_below else {"root": str(root)} if keep_paths else {}
    try:
        return told | {"root_key": _keep(root)}
    except OSError as error:
        if not is_below:
            warnings.warn(f"{manifest}: where its films lie is not kept ({error}): read it with --root", stacklevel=3)
        return told


def root_of(header: Mapping[str, Any], manifest: Path) -> Path:
    """Return the root of the films of a manifest, as its header says it and may be believed.

    Raises:
        ValueError: the header has a key that is not known here, or names a root that is neither below the manifest's
            own folder nor among those that were kept.
    """
    home, named, key = manifest.parent, header.get("root"), header.get("root_key")
    if named is None and key is None:
        return home
    kept = _kept()
    place = _resolved(home, named)
    is_below = place is not None and place.is_relative_to(home.resolve())
    if place is not None and (is_below or place in kept.values()) and (os.path.isdir(place) or key not in kept):
        return home / str(named) if is_below else place
    if isinstance(key, str) and key in kept:
        return kept[key]
    why = (
        "was written by another user or on another machine, and does not say where its films lie"
        if named is None
        else f"names the root {named!r}, which is neither below its own folder nor kept by a `data read` of yours here"
    )
    raise ValueError(
        f"{manifest} {why}: name the folder with --root PATH (`fscxr data read {manifest} --root PATH --out NEW.csv` "
        "writes one that needs no flag)"
    )


def _resolved(home: Path, named: Any) -> Path | None:
    try:
        return (home / named).resolve() if isinstance(named, str) else None
    except (OSError, RuntimeError, ValueError):  # a NUL, a long name, a circle of links
        return None


def _folder() -> Path:
    folder = state_folder() / "roots"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _kept() -> dict[str, Path]:
    """Return the roots that were kept, by their keys; none where there is no place to keep them."""
    kept: dict[str, Path] = {}
    with suppress(OSError):
        for file in _folder().iterdir():
            if _KEY.fullmatch(file.name):
                with suppress(OSError):  # another process has just forgotten it
                    kept[file.name] = Path(os.fsdecode(file.read_bytes()))
    return kept


def _keep(root: Path) -> str:
    """Return the key of a root: a file of its name holds the root, so that two who write at once lose nothing."""
    folder, kept = _folder(), _kept()
    key = next((key for key, known in kept.items() if known == root), "") or secrets.token_hex(16)
    write_bytes(folder / key, os.fsencode(root))
    (folder / key).chmod(0o600)
    if len(kept) >= _MOST_KEPT:
        by_age = sorted((folder / name for name in kept), key=lambda file: file.stat().st_mtime_ns)
        for file in by_age[: len(kept) - _MOST_KEPT + 1]:
            file.unlink(missing_ok=True)
    return key
