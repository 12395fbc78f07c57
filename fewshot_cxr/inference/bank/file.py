"""One file of a bank: safetensors with a JSON header, no pickle; written whole, checked when read."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import check_form, lookup
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.encoders import Encoder, encoder_of
from fewshot_cxr.encoders.card import check_header
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank.exemplar_table import TEXTS, ExemplarTable
from fewshot_cxr.inference.bank.terms import BankTerms
from fewshot_cxr.inference.rules import RULES
from fewshot_cxr.storage import load_tensors, save_tensors

KIND = "bank"
_FORM = {
    "terms": {
        "encoder": {"sha256": str, "recipe": dict, "image_spec": dict, "card": dict, "run": str},
        "rule": str,
        "distance": str,
        "options": dict,
        "choice": str,
        "trained_on": [str],
    },
    "calibration": (dict, None),
    "thresholds": (dict, None),
    "is_stale": bool,
    "why_not": str,
    "called": [dict],
    "points": [dict],
    "level": float,
    "rate": float,
}
_ENCODER = "encoder."
_OPTION = "option."
_TEXT = "text."
_MAPPED_FROM = 1 << 26  # bytes of a tensor; a smaller one is copied, and the file may change as it will
_FLAGS = ("has_patient", "is_frontal")
Parts = tuple[ExemplarTable, BankTerms, dict[str, Any], Encoder | None]


def write_bank(
    path: str | Path, table: ExemplarTable, terms: BankTerms, told: Mapping[str, Any], encoder: Encoder | None
) -> None:
    """Write a bank, whole or not at all; whoever else writes the same file is waited out or named.

    Args:
        path: the file, replaced.
        table: the exemplars.
        terms: how they decide.
        told: what it knows of its own answers, plain JSON values.
        encoder: whose weights go into the file, too; None: they stay where they are.

    Raises:
        BlockingIOError: another process writes it.
        OSError: it cannot be written.
    """
    tensors = {"vectors": torch.from_numpy(table.vectors), "ages": torch.from_numpy(table.ages)}
    tensors |= {name: torch.from_numpy(getattr(table, name)) for name in _FLAGS}
    if not np.array_equal(table.features, table.vectors):  # of pooled features without a head both are one
        tensors["features"] = torch.from_numpy(table.features)
    if table.thumbnails is not None:
        tensors["thumbnails"] = torch.from_numpy(table.thumbnails)
    tensors |= {_OPTION + name: value for name, value in terms.options.items() if isinstance(value, Tensor)}
    if encoder is not None:
        tensors |= {_ENCODER + name: value for name, value in encoder.state_dict().items()}
    # Not in the header, which may have 100 MB: names of a million exemplars are more.
    tensors |= {_TEXT + name: _as_bytes(getattr(table, name)) for name in TEXTS}
    header = {"terms": terms.to_json(), **told}
    with only_writer(Path(path), is_folder=False):
        save_tensors(path, tensors, kind=KIND, header=header)


def read_bank(path: str | Path) -> Parts:
    """Read what `write_bank` wrote: exemplars, terms, what is told beside them, and the encoder if it is in the file.

    The whole file is checked against its hash. Vectors of 64 MB or more stay in the file, mapped into memory. To put
    another file in its place is harmless, and all commands do that; but nobody may write into it meanwhile.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no bank, of a newer format, or holds what no bank can.
        OSError: it is damaged.
    """
    path = Path(path)
    tensors, header = load_tensors(path, kind=KIND)
    tensors = {name: value if _is_mapped(value) else value.clone() for name, value in tensors.items()}
    check_form(header, _FORM, f"{path}: its header")
    facts = header["terms"]
    check_header(facts["encoder"], f"{path}: its encoder")
    table = _table(path, tensors)
    terms = _terms(path, tensors, facts)
    weights = {name.removeprefix(_ENCODER): value for name, value in tensors.items() if name.startswith(_ENCODER)}
    encoder = terms.check(encoder_of(weights, facts["encoder"], path)) if weights else None
    told = {name: header[name] for name in header.keys() - {"terms"}}
    return table, terms, told, encoder


def _as_bytes(texts: tuple[str, ...]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(texts).encode()), dtype=torch.uint8)


def _texts(path: Path, name: str, content: Tensor) -> tuple[str, ...]:
    try:
        texts = json.loads(content.numpy().tobytes())
        check_form({name: texts}, {name: [str]}, "its texts")
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: its {name} are no list of texts") from error
    # Of a million exemplars many have one finding and one source.
    return tuple(map(sys.intern, texts) if name in ("findings", "sources") else texts)


def _is_mapped(values: Tensor) -> bool:
    return values.nbytes >= _MAPPED_FROM and os.name == "posix"  # elsewhere a mapped file cannot be replaced


def _table(path: Path, tensors: Mapping[str, Tensor]) -> ExemplarTable:
    try:
        vectors, ages, *flags = (tensors[name] for name in ("vectors", "ages", *_FLAGS))
        texts = {name: _texts(path, name, tensors[_TEXT + name]) for name in TEXTS}
    except KeyError as error:
        raise ValueError(f"{path}: it lacks {error.args[0]!r}, which every bank has") from None
    thumbnails, features = tensors.get("thumbnails"), tensors.get("features", vectors)
    if not all(map(_are_vectors, {id(rows): rows for rows in (vectors, features)}.values())):
        raise ValueError(f"{path}: its vectors are none of a bank")
    if any(flag.dtype != torch.bool or flag.ndim != 1 for flag in flags) or ages.dtype != torch.float32:
        raise ValueError(f"{path}: its ages or patients are none of a bank")
    if thumbnails is not None and (thumbnails.ndim != 3 or thumbnails.dtype != torch.uint8):
        raise ValueError(f"{path}: its thumbnails are no pictures")
    columns: list[Any] = [features, ages, *flags, *texts.values(), *([] if thumbnails is None else [thumbnails])]
    if any(len(column) != len(vectors) for column in columns):
        raise ValueError(f"{path}: its exemplars have {len(vectors)} vectors, and other numbers of names or patients")
    named: dict[str, Any] = texts | {name: flag.numpy() for name, flag in zip(_FLAGS, flags, strict=True)}
    named["thumbnails"] = None if thumbnails is None else thumbnails.numpy()
    return ExemplarTable(vectors=vectors.numpy(), features=features.numpy(), ages=ages.numpy(), **named)


def _are_vectors(rows: Tensor) -> bool:
    """Whether these are finite vectors; what is mapped is not copied for it."""
    if rows.ndim != 2 or rows.dtype != torch.float32 or not rows.numel():
        return False
    return all(bool(end.isfinite()) for end in rows.aminmax())


def _terms(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> BankTerms:
    try:
        lookup(RULES, facts["rule"], what="rule")
        lookup(DISTANCES, facts["distance"], what="distance")
        ImageSpec.from_json(dict(facts["encoder"]["image_spec"]))
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    learned = {name.removeprefix(_OPTION): value for name, value in tensors.items() if name.startswith(_OPTION)}
    return BankTerms(
        encoder=facts["encoder"],
        rule=facts["rule"],
        distance=facts["distance"],
        options={**facts["options"], **learned},
        choice=facts["choice"],
        trained_on=frozenset(facts["trained_on"]),
        places=(path.resolve().parent,),
    )
