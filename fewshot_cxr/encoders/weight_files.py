"""What a file of weights really is, by its content: downloads are web pages, archives, pointers, whole models."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewshot_cxr.storage import is_safetensors, load_plain_tensors

_LOOKED_AT = 1 << 12
_PICKLE = 1 << 22  # bytes of an old pickle in which names of classes are looked for
_FOLDER = 0x10
_AGAIN = "download it again"
_STARTS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the weights: fetch them with `git lfs pull`",
    b"/annex/objects/": "is a pointer of git-annex, not the weights: fetch them with `git annex get`",
    b"\x89HDF": "is an HDF5 file, of Keras or TensorFlow: convert it to a state dict of torch first",
    b"\x1f\x8b": "is a gzip archive: unpack it, and name the file of weights in it",
    b"7z\xbc\xaf": "is a 7z archive: unpack it, and name the file of weights in it",
    b"Rar!": "is a RAR archive: unpack it, and name the file of weights in it",
    b"\x93NUMPY": "is an array of NumPy: save a state dict of torch",
    b"%PDF": f"is a PDF, not weights; {_AGAIN}",
    b"\x89PNG": "is a picture, not weights",
    b"\xff\xd8\xff": "is a picture, not weights",
}
_WRAPPERS = (
    *("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "network", "module"),
    *("teacher", "student", "encoder", "backbone", "weights", "params"),
)
# Unpickles, so it is nothing that is done here unasked.
_CONVERT = (
    "python -c \"import torch; c = torch.load(%r, 'cpu', weights_only=False); "
    "c = next((c[k] for k in ('state_dict', 'model') if k in c), c) if isinstance(c, dict) else c; "
    "torch.save(getattr(c, 'state_dict', lambda: c)(), 'plain.pth')\""
)
_CLASS = re.compile(rb"c((?:\w+\.)*\w+)\n(\w+)\n")
_HARMLESS = ("torch", "collections", "torch._utils")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read named tensors of any file that holds them plainly, whatever its suffix; nothing is unpickled.

    Raises:
        OSError: it holds no plain weights; the text says what it is, and the way out.
        ValueError: what it holds is no state dict.
    """
    if is_safetensors(path):
        return load_plain_tensors(path)
    if what := foreign_kind(path):
        raise OSError(f"{path} {what}")
    try:
        if zipfile.is_zipfile(path):
            check_archive(path)
        with path.open("rb") as file:  # of a path torch would look at the suffix
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have their own, with no common base
        raise OSError(f"{path} {_unreadable(path)}") from error
    state = _unwrapped(state)
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} is no state dict but a {type(state).__name__}; save model.state_dict()")
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        told = f": {', '.join(map(str, others[:3]))} are no tensors" if others else ": it is empty"
        raise ValueError(f"{path} is no state dict{told}; save model.state_dict()")
    return dict(state)


def check_archive(path: Path) -> None:
    """Test the checksums of a zip archive, which torch writes and reads past; it reads nothing of a "folder".

    Raises:
        zipfile.BadZipFile: a part is damaged; other damage has other errors of zipfile and zlib.
    """
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() or any(part.external_attr & _FOLDER for part in archive.infolist()):
            raise zipfile.BadZipFile


def foreign_kind(path: Path) -> str:
    """Return what a file is that is certainly no weights of torch, and the way out; "" for any other file."""
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    if not start.strip(b"\0"):
        return f"is empty; {_AGAIN}" if not start else f"holds zeros alone; {_AGAIN}"
    for mark, what in _STARTS.items():
        if start.startswith(mark):
            return what
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return f"is a web page, not weights; {_AGAIN}"
    if text.startswith((b"{", b"[")):
        return f"is JSON, not weights; {_AGAIN}"
    if start[257:262] == b"ustar":
        return "is a tar archive: unpack it, and name the file of weights in it"
    if start.startswith(b"PK"):
        return _zip_kind(path)
    if b"onnx" in text or b"pytorch" in text[:64]:
        return "is an ONNX graph: save the state dict of the model that it was made from"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in start):
        return f"is text, not weights; {_AGAIN}"
    return ""


def _zip_kind(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return f"is cut short; {_AGAIN}"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        return "is a TorchScript archive: save its weights with torch.save(torch.jit.load(file).state_dict(), new_file)"
    if "data.pkl" in ends:
        return ""
    if ends & {"saved_model.pb", "model.weights.h5"}:
        return "is a model of TensorFlow or Keras: convert it to a state dict of torch first"
    if names and all(name.endswith(".npy") for name in names):
        return "holds arrays of NumPy: save a state dict of torch"
    return f"is a zip archive (of {', '.join(names[:3]) or 'nothing'}): unpack it, and name the file of weights in it"


def _unreadable(path: Path) -> str:
    """Return why torch refuses a file, in place of torch's own advice, which does not hold here."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickled = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    else:
        with path.open("rb") as file:
            pickled = file.read(_PICKLE)
    convert = f"where you trust it, convert it: {_CONVERT % path.name}"
    if b"torch.nn.modules" in pickled:
        save = 'torch.save(model.state_dict(), "new.pth")'
        return f"holds a whole model; save its state_dict(), where it was made, with {save}; or, {convert}"
    classes = dict.fromkeys(f"{module.decode()}.{name.decode()}" for module, name in _CLASS.findall(pickled))
    others = [name for name in classes if name.partition(".")[0] not in _HARMLESS]
    if others:
        return (
            f"holds no plain weights but objects of {', '.join(others[:3])}, which nothing here unpickles; "
            f"save the state dict alone, where it was made, or, {convert}"
        )
    return f"holds no plain weights, or is damaged; {_AGAIN}, or save a state dict"


def _unwrapped(state: Any) -> Any:
    """Return the state dict that lies in a checkpoint beside epochs, optimisers and the like."""
    while isinstance(state, Mapping) and not any(isinstance(value, Tensor) for value in state.values()):
        inner = next((state[name] for name in _WRAPPERS if isinstance(state.get(name), Mapping)), None)
        if not inner:
            break
        state = inner
    return state
