"""The ONNX file of a bank or an encoder: what it holds, under which names, and how it is opened. No torch."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_form
from fewshot_cxr._processors import n_processors

FILMS = "films"
OUTPUTS = ("features", "embeddings", "distances", "to_exemplars")
CONSTANTS = ("exemplar_vectors", "exemplar_features", "exemplar_distances")
KEY, KEY_HASH = "fewshot_cxr", "fewshot_cxr sha256"
FORMAT_VERSION = 1
_MOST_OFF = 1e-2  # of the largest number of the self-test: another processor's last digits, but no damage
_LACKS = "an exported file is run by onnxruntime: pip install fewshot_cxr[onnx]"
_FORM = {"format_version": int, "version": str, "check": [float], "kind": str, "terms": dict, "arrays": dict}


def open_session(source: str | Path | bytes, *, threads: int | None = None) -> Any:
    """Return onnxruntime's session of a file, on the processor.

    Args:
        source: the file, or its content.
        threads: of the processor; None: all that this process may use.

    Raises:
        ImportError: onnxruntime is not installed.
        OSError: there is no such file, or it cannot be run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(_LACKS) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads or n_processors(), 3
    if not isinstance(source, bytes):
        with Path(source).open("rb") as file:  # a path that names no file says so itself
            file.read(1)
        source = str(source)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each of its codes, and no common one
        name = "its content" if isinstance(source, bytes) else source
        reason = " ".join(str(error).split())[:200]
        raise OSError(f"{name} is no ONNX file that can be run, or it is damaged ({reason})") from error


def read_head(session: Any, path: str | Path, *, kind: str) -> dict[str, Any]:
    """Return what stands beside the graph of a file, after the file has shown that it computes what it did when made.

    Args:
        session: of the file.
        path: of it, for errors.
        kind: "bank" or "encoder".

    Raises:
        ValueError: the file is none of ours, of a newer format, or of another kind.
        OSError: it is damaged, or this machine computes otherwise.
    """
    props = session.get_modelmeta().custom_metadata_map
    if (text := props.get(KEY)) is None:
        raise ValueError(f"{path} is no file of `fscxr export onnx`: name one, or a bank (--runtime torch)")
    if text_hash(text) != props.get(KEY_HASH):
        raise OSError(f"{path} is damaged: its metadata does not match its hash; export it anew")
    try:
        head: dict[str, Any] = json.loads(text)
        check_form(head, _FORM, f"{path}: its metadata")
    except (RecursionError, json.JSONDecodeError) as error:
        raise OSError(f"{path} is damaged: its metadata cannot be read; export it anew") from error
    if head["format_version"] > FORMAT_VERSION:
        raise ValueError(f"{path} is of a newer format ({head['format_version']}): update fewshot_cxr")
    if head["kind"] != kind:
        raise ValueError(f"{path} holds no {kind}, but {head['kind']!r:.40}: export the {kind} (fscxr export onnx)")
    _self_test(session, path, head)
    return head


def constants_of(session: Any, path: str | Path, head: Mapping[str, Any]) -> list[np.ndarray]:
    """Return the arrays of CONSTANTS, which are outputs that hang on no film.

    Raises:
        OSError: they are damaged.
    """
    nothing = np.zeros((1, *[head["terms"]["encoder"]["image_spec"]["size_px"]] * 2), dtype=np.uint8)
    arrays: list[np.ndarray] = session.run(list(CONSTANTS), {FILMS: nothing})
    if {name: array_hash(values) for name, values in zip(CONSTANTS, arrays, strict=True)} != head["arrays"]:
        raise OSError(f"{path} is damaged: its exemplars do not match their hash; export it anew")
    return arrays


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def array_hash(values: np.ndarray) -> str:
    """Return the SHA-256 of the type, the shape and the numbers of an array, hex."""
    about = f"{values.dtype.str} {values.shape} ".encode()
    return hashlib.sha256(about + np.ascontiguousarray(values).tobytes()).hexdigest()


def self_test_films(size_px: int) -> np.ndarray:
    """Return three films of noise, the same on every machine, uint8 (3, S, S)."""
    bits = np.arange(3 * size_px * size_px, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (bits >> np.uint64(56)).astype(np.uint8).reshape(3, size_px, size_px)


def _self_test(session: Any, path: str | Path, head: Mapping[str, Any]) -> None:
    size_px = head["terms"].get("encoder", {}).get("image_spec", {}).get("size_px")
    if not isinstance(size_px, int) or not 1 <= size_px <= 1 << 14:
        raise OSError(f"{path} is damaged: it does not say the size of its films; export it anew")
    expected = np.array(head["check"])
    (found,) = session.run([OUTPUTS[1]], {FILMS: self_test_films(size_px)[:1]})
    if found.shape != (1, len(expected)) or not np.abs(found[0] - expected).max() <= _MOST_OFF * np.abs(expected).max():
        raise OSError(f"{path} is damaged, or this machine computes otherwise: its test gives other numbers")
