"""What is mailed does not say where things lie on the machine that made it."""

import os
import re
from html import unescape
from typing import Any

# An absolute path, one from a home folder, or one that climbs; not a part of another word, an address or a tag.
_BEGINS = re.compile(r"(?:(?<![\w+./<~])|(?<=file://))(?:/|~[\w.-]*/|(?:\./)*(?:\.\./)+)(?=[^\s/])")
_FOLDERS = re.compile(r"(?:[^\s/'\"<>|,;()]+/)*")
_LONGEST = 4096  # characters that a path may have


def told_text(text: str) -> str:
    """Return a text in which each path of this machine is told from the working folder, or by its name where outside.

    Folders are known by being there, so that a name with blanks goes whole, and what only looks like a path stays.
    """
    parts, done = [], 0
    for found in _BEGINS.finditer(text):
        end = 0 if found.start() < done else _folder_end(text, found.start())
        if end:
            below = _below_here(text[found.start() : end])
            parts += [text[done : found.start()], f"{below}/" if below else ""]
            more = _FOLDERS.match(text, end) if below is None else None  # folders that are not there
            done = more.end() if more else end
    return "".join((*parts, text[done:]))


def told_value(value: Any) -> Any:
    """Return plain JSON values with every text, keys too, as `told_text` tells it."""
    if isinstance(value, dict):
        return {told_value(name): told_value(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [told_value(one) for one in value]
    return told_text(value) if isinstance(value, str) and "/" in value else value


def _folder_end(text: str, start: int) -> int:
    """Return where the longest folder of this machine ends, behind its slash, that the text names there; 0: none."""
    end = 0
    while (at := text.find("/", max(end, start + 1), start + _LONGEST)) >= 0:
        folder = os.path.expanduser(text[start:at])
        if not (os.path.isdir(folder) or os.path.isdir(unescape(folder))):  # the text may be a page
            break
        end = at + 1
    return end


def _below_here(path: str) -> str | None:
    """Return a path relative to the working folder, "" for that itself; None: it lies outside."""
    try:
        places = (os.path.abspath(os.curdir), os.path.realpath(os.curdir))
    except FileNotFoundError:  # the working folder is gone, and nothing lies below it
        return None
    whole = os.path.abspath(os.path.expanduser(path))
    for here in places:
        if whole == here or whole.startswith(os.path.join(here, "")):
            return whole[len(here) :].strip(os.sep).replace(os.sep, "/")
    return None
