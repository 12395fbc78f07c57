"""The folder of this user on this machine for what is kept from one command to the next."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def state_folder() -> Path:
    """Return the folder, which this user alone can open; it is made where there is none.

    `$XDG_STATE_HOME/fewshot_cxr`, else `~/.local/state/fewshot_cxr`; where neither can be written, a folder of this
    user in the temp folder.

    Raises:
        OSError: none of them can be written, or another user made it.
    """
    *first, last = _places()
    for place in first:
        try:
            return _own(place)
        except OSError:
            continue
    return _own(last)


def _places() -> Iterator[Path]:
    named = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    home = Path(os.path.expanduser(named))
    if home.is_absolute():  # a relative one is to be passed over, says the XDG base directory specification
        yield home / "fewshot_cxr"
    yield Path(tempfile.gettempdir()) / f"fewshot_cxr-{_user()}"


def _own(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != _user():
        raise PermissionError(f"{folder} is a link, or belongs to another user")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written")
    return folder


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0  # Windows says 0 of every file
