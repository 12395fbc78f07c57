"""JSON from unknown hands: whatever is wrong with it is one ValueError, and costs no more than reading the file."""

import json
from pathlib import Path
from typing import Any, NoReturn

_MOST_BYTES = 1 << 30  # the result of a million films of a dozen findings holds some 700 MB


def parse_json(text: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or holds NaN, infinity or a number of thousands of digits.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON (see `parse_json`), or holds more than 1 GiB.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if (n_bytes := path.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"{path} is no JSON of ours: it holds {n_bytes:,} bytes, at most {_MOST_BYTES:,} are read")
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); write it again, a result with `--json FILE`") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
