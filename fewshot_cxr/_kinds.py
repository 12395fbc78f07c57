"""What the files of a run are called, and what the start of a file says of its kind.

A file of another kind than the one to be written is never replaced.
"""

import re
from collections.abc import Callable
from pathlib import Path

from fewshot_cxr.whole_files import file_to_replace

ENCODER_FILE, PROVENANCE_FILE = "encoder.safetensors", "made_by.json"
CARD, HISTORY, LAST, SPLIT, RESULT = "card.json", "history.csv", "last.ckpt", "split.csv", "result.json"
EPISODES, RECIPE, EXPECTED = "episodes.json", "recipe.toml", "expected.json"
TRAINING_FILMS = "training_films.json"  # the digests of the films of a run
IsKind = Callable[[bytes], bool]
_START = 4096  # bytes that are looked at
NOT_OURS = "of another kind than what is written here: name another file, or move that one away"


def is_taken(path: Path) -> bool:
    """Return whether a file with content is there, which writing would replace."""
    return path.exists() and file_to_replace(path) is not None and path.stat().st_size > 0


def refuse_other_kind(path: str | Path, is_kind: IsKind) -> None:
    """Refuse to replace what is not of a kind; nothing, an empty file and a device are no hindrance.

    Raises:
        FileExistsError: a file of another kind is there.
    """
    path = Path(path)
    if is_taken(path):
        with path.open("rb") as file:
            start = file.read(_START)
        if not is_kind(start):
            raise FileExistsError(f"{path} is there, and {NOT_OURS}")


def is_page(start: bytes) -> bool:
    """Return whether it is a page of ours."""
    return start.lstrip().lower().startswith(b"<!doctype html") and b'content="fewshot_cxr"' in start


def is_figure(start: bytes) -> bool:
    """Return whether it is a figure that we have drawn, and no film."""
    return start.startswith(b"\x89PNG") and b"Software\0fewshot_cxr" in start


def is_drawing(start: bytes) -> bool:
    """Return whether it is an SVG figure that we have drawn."""
    return start.startswith(b"<?xml") and b"<svg" in start and b"<dc:title>fewshot_cxr</dc:title>" in start


def begins(*words: bytes) -> IsKind:
    """Return what tells a text that begins with one of these words."""
    return lambda start: start.startswith(words)


def is_onnx(start: bytes) -> bool:
    """Return whether it is an ONNX file that we have made."""
    return start.startswith(b"\x08") and b"fewshot_cxr" in start[:64]


def is_tensors(kind: str) -> IsKind:
    """Return what tells our safetensors of a kind, such as "embeddings"."""
    named = re.compile(rb"fewshot_cxr\W+kind\W+" + kind.encode() + rb"\b")
    return lambda start: start[8:9] == b"{" and named.search(start) is not None


def _is_vectors(start: bytes) -> bool:
    return start.startswith(b"\x93NUMPY") and re.search(rb"'<f4'.*'shape': \(\d+, \d+\)", start) is not None


EMBEDDINGS = {
    ".safetensors": is_tensors("embeddings"),
    ".csv": begins(b"path,finding,patient,source,e0"),
    ".npy": _is_vectors,
}
