"""Tensors and a JSON header in one safetensors file: written whole or not at all, checked when read, no pickle."""

import errno
import hashlib
import json
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from fewshot_cxr.whole_files import whole_file, write_bytes

FORMAT_VERSION = 2
_TENSORS_ALONE = 1  # the format whose hash did not cover the header
_KEY = "fewshot_cxr"
_INT32 = "I32"
_NUMPY = {"U8": "u1", _INT32: "<i4", "I64": "<i8", "F32": "<f4", "F64": "<f8", "BOOL": "?"}
_MARKS = ('"kind": ', '"format_version": ', '"sha256": ', '"header": ')
_LONGEST_REASON = 200
_MOST_FILE_HEADER_BYTES = 100_000_000  # that the library reads
_MOST_HEADER_BYTES = 40_000_000  # of ours, whose quotation marks take two bytes there
_LONG = "json:"  # before the name of a tensor that holds a value of the header
_DAMAGED = "{path} is damaged: its content does not match its hash; restore it or make it anew"


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], *, kind: str, header: Mapping[str, Any]) -> None:
    """Save named tensors with a header of plain JSON values.

    Args:
        path: the file, replaced whole.
        tensors: any dtypes and shapes; copied to the CPU.
        kind: what the file is ("encoder", "embeddings"); `load_tensors` insists on it.
        header: JSON values, returned by `load_tensors`.
    """
    header, long = _divided(header)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in {**tensors, **long}.items()}
    head = _head(kind, header)
    head["sha256"] = tensor_hash(plain, _header_hash(head))
    write_bytes(path, serialise(plain, metadata={_KEY: json.dumps(head, allow_nan=False)}))


def load_tensors(path: str | Path, *, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load what `save_tensors` wrote: (tensors on the CPU, header).

    Header and tensors are checked against their hash. A file of before, whose hash is of the tensors alone, is loaded
    with a warning.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, of a newer format, or not ours.
        OSError: the file is damaged (cut short, or its content does not match its hash).
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    head = _own_head(path, _read(path, tensors), kind)
    return tensors, _whole_header(path, _checked_header(path, head, tensor_hash(tensors, _header_hash(head))), tensors)


def is_safetensors(path: str | Path) -> bool:
    """Return whether a file begins as safetensors do, whatever it is called: the length of a header, and the header."""
    with Path(path).open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < Path(path).stat().st_size


def is_foreign(path: str | Path) -> bool:
    """Return whether a safetensors file is none of `save_tensors` or `save_streams`, not even a damaged one.

    Raises:
        OSError: the file is damaged.
    """
    return not _is_ours(_read(Path(path)))


def load_plain_tensors(path: str | Path) -> dict[str, Tensor]:
    """Load the tensors of any safetensors file, on the CPU.

    Raises:
        OSError: the file is damaged.
    """
    tensors: dict[str, Tensor] = {}
    _read(Path(path), tensors)
    return tensors


@dataclass(frozen=True, eq=False)
class TensorStream:
    """An int32 tensor that is never whole in memory: its shape, and its rows in order, some at a time."""

    shape: tuple[int, ...]
    chunks: Iterable[np.ndarray]


def save_streams(
    path: str | Path, streams: Mapping[str, TensorStream], *, kind: str, header: Mapping[str, Any]
) -> None:
    """Save int32 tensors chunk by chunk, in constant memory; `load_tensors` reads the file as well.

    Args:
        path: the file, replaced whole.
        streams: tensors by name, written one after the other in order of name.
        kind: see `save_tensors`.
        header: see `save_tensors`.

    Raises:
        ValueError: the chunks of a tensor do not fill its shape, or the header is longer than a file may have it.
    """
    layout: dict[str, Any] = {}
    end = 0
    for name in sorted(streams):
        start, end = end, end + 4 * prod(streams[name].shape)
        layout[name] = {"dtype": _INT32, "shape": list(streams[name].shape), "data_offsets": [start, end]}
    # The hash stands before the data but is known after it: 64 zeros keep its place.
    head = _head(kind, header) | {"sha256": "0" * 64}
    with whole_file(path) as part, part.open("wb") as file:
        file.write(_safetensors_head(head, layout))
        head["sha256"] = _write_streams(file, streams, _header_hash(head))
        file.seek(0)
        file.write(_safetensors_head(head, layout))


def map_tensors(
    path: str | Path, *, kind: str, dtypes: Collection[str] = (_INT32,)
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Map what was saved into memory, read-only: rows are read from the disk when they are asked for.

    The content is checked against its hash. The errors are those of `load_tensors`. Its
    tensors must be of these `dtypes`, as safetensors call them: of "I32", "I64", "F32", "F64" and "BOOL".
    """
    path = Path(path)
    head = _own_head(path, _read(path), kind)
    with path.open("rb") as file:
        n_bytes = int.from_bytes(file.read(8), "little")
        layout = json.loads(file.read(n_bytes))
    arrays = {}
    for name in sorted(layout.keys() - {"__metadata__"}):
        shape, start = tuple(layout[name]["shape"]), layout[name]["data_offsets"][0]
        if (dtype := layout[name]["dtype"]) not in (("U8",) if name.startswith(_LONG) else dtypes):
            raise ValueError(f"{path}: {name} is {dtype}, {' or '.join(dtypes)} was expected; make the file anew")
        # A mapping cannot be empty.
        where = {"mode": "r", "offset": 8 + n_bytes + start, "shape": shape}
        arrays[name] = np.memmap(path, _NUMPY[dtype], **where) if prod(shape) else np.empty(shape, _NUMPY[dtype])
    return arrays, _whole_header(path, _checked_header(path, head, _mapped_hash(head, arrays)), arrays)


def told_hash(path: str | Path, *, kind: str) -> str:
    """Return the hash that a file names, which tells it from others; `map_tensors` checks that it is true."""
    return str(_own_head(Path(path), _read(Path(path)), kind)["sha256"])


def _divided(header: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a header has room for and, as bytes of JSON, the values that it has none for: names of all films."""
    texts = {name: json.dumps(value, allow_nan=False).encode() for name, value in header.items()}
    room, long = _MOST_HEADER_BYTES, dict[str, Tensor]()
    for name in sorted(texts, key=lambda name: len(texts[name])):
        room -= len(texts[name])
        if room < 0:
            long[_LONG + name] = torch.frombuffer(bytearray(texts[name]), dtype=torch.uint8)
    return {name: value for name, value in header.items() if _LONG + name not in long}, long


def _whole_header(path: Path, header: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """Return a header with the values that lay beside it, which are taken out of the tensors."""
    long = {name: np.asarray(tensors.pop(name)).tobytes() for name in list(tensors) if name.startswith(_LONG)}
    try:
        return header | {name.removeprefix(_LONG): json.loads(content) for name, content in long.items()}
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


def _head(kind: str, header: Mapping[str, Any]) -> dict[str, Any]:
    # What is hashed is what will be read: JSON knows neither tuples nor keys that are numbers.
    plain = json.loads(json.dumps(dict(header), allow_nan=False))
    return {"kind": kind, "format_version": FORMAT_VERSION, "header": plain}


def _header_hash(head: Mapping[str, Any]) -> "hashlib._Hash":
    """Begin the SHA-256 of a file with all that its head says, key by key in order of name."""
    digest = hashlib.sha256()
    if head["format_version"] != _TENSORS_ALONE:
        said = {name: head[name] for name in ("kind", "format_version", "header")}
        digest.update(json.dumps(said, sort_keys=True).encode())
    return digest


def tensor_hash(tensors: Mapping[str, Tensor], begun: "hashlib._Hash | None" = None) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and bytes, in order of name, after what is `begun`."""
    digest = begun or hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def _read(path: Path, tensors: dict[str, Tensor] | None = None) -> dict[str, str]:
    """Return the texts in the header of a safetensors file, and fill `tensors` if it is given."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as opened:
            if tensors is not None:
                tensors.update({name: opened.get_tensor(name) for name in list(opened.keys())})
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise _unreadable(path, error) from error
    except RuntimeError as error:  # torch opens it once more, and finds no handle left
        raise OSError(errno.EMFILE, f"{error}", str(path)) from error


def _unreadable(path: Path, error: Exception) -> OSError:
    reason = shorten(str(error), _LONGEST_REASON, placeholder="...")
    return OSError(f"{path} is damaged or no safetensors file ({reason}); restore it or make it anew")


def _is_ours(texts: Mapping[str, str]) -> bool:
    # By more than its name: a file in which that is damaged is no foreign one.
    return _KEY in texts or any(all(mark in text for mark in _MARKS) for text in texts.values())


def _safetensors_head(head: Mapping[str, Any], layout: Mapping[str, Any]) -> bytes:
    # Eight bytes of length, then JSON, filled up with blanks so that the data lies at a multiple of eight.
    text = json.dumps({"__metadata__": {_KEY: json.dumps(head, allow_nan=False)}, **layout}).encode()
    if len(text) > _MOST_FILE_HEADER_BYTES:
        raise ValueError(f"its films take {len(text) / 1e6:.1f} MB to name, more than a file has room for: draw fewer")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_streams(file: IO[bytes], streams: Mapping[str, TensorStream], digest: "hashlib._Hash") -> str:
    """Write the data in order of name; return the hash that `digest` began, as `tensor_hash` does."""
    for name in sorted(streams):
        shape, n_rows = streams[name].shape, 0
        digest.update(f"{name}|torch.int32|{shape}|".encode())
        for chunk in streams[name].chunks:
            if chunk.shape[1:] != shape[1:]:
                raise ValueError(f"{name}: a chunk has the shape {chunk.shape}, {shape} was promised")
            content = np.ascontiguousarray(chunk, dtype="<i4").tobytes()
            digest.update(content)
            file.write(content)
            n_rows += len(chunk)
        if n_rows != shape[0]:
            raise ValueError(f"{name}: the chunks have {n_rows} rows, {shape[0]} were promised")
    return digest.hexdigest()


def _mapped_hash(head: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    digest = _header_hash(head)
    for name in sorted(arrays):
        digest.update(f"{name}|torch.{arrays[name].dtype}|{arrays[name].shape}|".encode())
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _own_head(path: Path, texts: Mapping[str, str], kind: str) -> dict[str, Any]:
    """Return our part of a header, of the kind and a format that are read here; its hash is still to be checked."""
    if not _is_ours(texts):
        raise ValueError(f"{path} is safetensors but not one of fewshot_cxr; for foreign weights use --weights")
    try:
        head = json.loads(texts.get(_KEY, "null"))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(head, dict) or not {"kind", "format_version", "sha256", "header"} <= head.keys():
        raise OSError(_DAMAGED.format(path=path))
    version = head["format_version"]
    if type(version) is not int or version < 1 or not isinstance(head["header"], dict):
        raise OSError(_DAMAGED.format(path=path))
    if head["kind"] != kind:
        raise ValueError(f"{path} holds {shorten(str(head['kind']), _LONGEST_REASON)}, {kind} was expected")
    if version > FORMAT_VERSION:
        newer = shorten(str(version), _LONGEST_REASON)
        raise ValueError(f"{path} has format {newer}, this version reads up to {FORMAT_VERSION}: upgrade")
    return head


def _checked_header(path: Path, head: Mapping[str, Any], found: str) -> dict[str, Any]:
    """Return the header, once the hash that was found is the one that the file names."""
    header: dict[str, Any] = head["header"]
    if found != head["sha256"]:
        raise OSError(_DAMAGED.format(path=path))
    if head["format_version"] == _TENSORS_ALONE:
        own = header.pop("sha256", None)  # episodes had a hash of their header in it
        if own is None:
            warnings.warn(
                f"{path} is of an older format, whose hash covers the tensors but not what the header says of them: "
                "make it anew, or load it and save it again",
                stacklevel=4,
            )
        elif own != hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest():
            raise OSError(_DAMAGED.format(path=path))
    return header
