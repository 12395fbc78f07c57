"""Sizes of films below a root, one by one; as a script, for the process that `plain_ahead` asks.

It imports nothing but Python's own, so that the script starts within some hundredths of a second.
"""

import os
import stat
import sys
from typing import BinaryIO

LINK = -1
_MOST_FOLDERS, _FEW = 2_000, 16


class Folders:
    """Folders below a root; of many (MIMIC-CXR-JPG has 230,000) the last ones are remembered.

    Of a folder the first films are asked for one by one; one of more is listed: over a network that takes far less
    for 100,000 films in one folder, and far more for one film in each.
    """

    def __init__(self, real_root: str) -> None:
        self._real_root = real_root
        self._known: dict[str, int | dict[str, int]] = {"": 0}  # sizes by name, or how many films were asked for

    def is_own(self, folder: str) -> bool:
        """Return whether a folder, as os.path.normpath writes it, lies there by its own name: no link on the way."""
        new = []
        while folder not in self._known:
            if os.path.islink(f"{self._real_root}/{folder}"):
                return False
            new.append(folder)
            folder = folder.rpartition("/")[0]
        for name in reversed(new):
            self.remember(name)
        return True

    def remember(self, folder: str) -> None:
        """Take a folder for one that lies below the root."""
        if len(self._known) >= _MOST_FOLDERS:
            self._known = {"": 0}
        self._known[folder] = 0

    def size(self, folder: str, file: str) -> int | None:
        """Return the bytes of a file in a folder that was looked at, LINK for a link, None for anything else."""
        known, place = self._known[folder], f"{self._real_root}/{folder}"
        if isinstance(known, int) and known < _FEW:
            self._known[folder] = known + 1
            return _size(f"{place}/{file}")
        if isinstance(known, int):
            known = {name: size for name in _names(place) if (size := _size(f"{place}/{name}")) is not None}
            self._known[folder] = known
        return known.get(file)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # it may not be looked into: none of its files is there for us
        return []


def _size(path: str) -> int | None:
    try:
        found = os.lstat(path)
    except (OSError, ValueError):  # not there, not to be looked into, or no name that a file can have
        return None
    return LINK if stat.S_ISLNK(found.st_mode) else found.st_size if stat.S_ISREG(found.st_mode) else None


def is_plain(folders: Folders, name: str) -> bool:
    """Return whether a path, as it stands, names a file that is not empty, without a link on the way."""
    if os.path.isabs(name) or name[:2] == ".." or os.path.normpath(name).replace(os.sep, "/") != name:
        return False
    folder, _, file = name.rpartition("/")
    return folders.is_own(folder) and (folders.size(folder, file) or 0) > 0


def answer(root: str, asked: BinaryIO, told: BinaryIO) -> None:
    """Answer each block of paths, its length in front and 0 between them, with a byte for each: 1 where it is plain."""
    folders = Folders(root)
    while length := int.from_bytes(asked.read(8), "little"):
        names = asked.read(length).decode("utf-8", "surrogatepass").split("\0")
        told.write(bytes(is_plain(folders, name) for name in names))
        told.flush()


if __name__ == "__main__":
    answer(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
