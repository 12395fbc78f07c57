"""Tensors and a JSON header in one safetensors file: written whole or not at all, checked when read, no pickle."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

FORMAT_VERSION = 1
_KEY = "fewshot_cxr"


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well, and vanishes when not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        # mkstemp makes the file private; the finished one gets the permissions any new file would have.
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all (UTF-8)."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, since JSON has no word for them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], *, kind: str, header: Mapping[str, Any]) -> None:
    """Save named tensors with a header of plain JSON values.

    Args:
        path: the file, replaced whole.
        tensors: any dtypes and shapes; copied to the CPU.
        kind: what the file is ("encoder", "embeddings"); `load_tensors` insists on it.
        header: JSON values, returned by `load_tensors`.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    head = {"kind": kind, "format_version": FORMAT_VERSION, "sha256": tensor_hash(plain), "header": dict(header)}
    with whole_file(path) as part:
        part.write_bytes(serialise(plain, metadata={_KEY: json.dumps(head, allow_nan=False)}))


def load_tensors(path: str | Path, *, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load what `save_tensors` wrote: (tensors on the CPU, header).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, of a newer format, or not ours.
        OSError: the file is damaged (cut short, or its content does not match its hash).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as opened:
            head = json.loads((opened.metadata() or {}).get(_KEY, "null"))
            tensors = {name: opened.get_tensor(name) for name in list(opened.keys())}
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise OSError(f"{path} is damaged or no safetensors file ({error}); restore it or make it anew") from error
    _check_head(path, head, kind)
    if tensor_hash(tensors) != head["sha256"]:
        raise OSError(f"{path} is damaged: its content does not match its hash; restore it or make it anew")
    return tensors, head["header"]


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def _check_head(path: Path, head: Any, kind: str) -> None:
    if not isinstance(head, dict) or not {"kind", "format_version", "sha256", "header"} <= head.keys():
        raise ValueError(f"{path} is safetensors but not one of fewshot_cxr; for foreign weights use --weights")
    if head["kind"] != kind:
        raise ValueError(f"{path} holds {head['kind']}, {kind} was expected")
    if head["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {head['format_version']}, this version reads up to {FORMAT_VERSION}: upgrade"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
