"""One file of a bank: safetensors with a JSON header, no pickle; written whole, checked when read."""

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
    "exemplars": {name: [str] for name in TEXTS},
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
    exemplars = {name: list(getattr(table, name)) for name in TEXTS}
    header = {"exemplars": exemplars, "terms": terms.to_json(), **told}
    with only_writer(Path(path), is_folder=False):
        save_tensors(path, tensors, kind=KIND, header=header)


def read_bank(path: str | Path) -> Parts:
    """Read what `write_bank` wrote: exemplars, terms, what is told beside them, and the encoder if it is in the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no bank, of a newer format, or holds what no bank can.
        OSError: it is damaged.
    """
    path = Path(path)
    tensors, header = load_tensors(path, kind=KIND)
    check_form(header, _FORM, f"{path}: its header")
    facts = header["terms"]
    check_header(facts["encoder"], f"{path}: its encoder")
    table = _table(path, tensors, header["exemplars"])
    terms = _terms(path, tensors, facts)
    weights = {name.removeprefix(_ENCODER): value for name, value in tensors.items() if name.startswith(_ENCODER)}
    encoder = terms.check(encoder_of(weights, facts["encoder"], path)) if weights else None
    told = {name: header[name] for name in header.keys() - {"exemplars", "terms"}}
    return table, terms, told, encoder


def _table(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, list[str]]) -> ExemplarTable:
    try:
        vectors, ages, *flags = (tensors[name] for name in ("vectors", "ages", *_FLAGS))
    except KeyError as error:
        raise ValueError(f"{path}: it lacks {error.args[0]!r}, which every bank has") from None
    thumbnails, features = tensors.get("thumbnails"), tensors.get("features", vectors)
    columns: list[Any] = [features, ages, *flags, *texts.values(), *([] if thumbnails is None else [thumbnails])]
    are_fit = (rows.ndim == 2 and rows.dtype == torch.float32 for rows in (vectors, features))
    if not all(are_fit) or not bool(vectors.isfinite().all() and features.isfinite().all()):
        raise ValueError(f"{path}: its vectors are none of a bank")
    if any(flag.dtype != torch.bool or flag.ndim != 1 for flag in flags) or ages.dtype != torch.float32:
        raise ValueError(f"{path}: its ages or patients are none of a bank")
    if thumbnails is not None and (thumbnails.ndim != 3 or thumbnails.dtype != torch.uint8):
        raise ValueError(f"{path}: its thumbnails are no pictures")
    if any(len(column) != len(vectors) for column in columns) or not len(vectors):
        raise ValueError(f"{path}: its exemplars have {len(vectors)} vectors, and other numbers of names or patients")
    named: dict[str, Any] = {name: flag.numpy() for name, flag in zip(_FLAGS, flags, strict=True)}
    named |= {name: tuple(values) for name, values in texts.items()}
    named["thumbnails"] = None if thumbnails is None else thumbnails.numpy()
    return ExemplarTable(vectors=vectors.numpy(), features=features.numpy(), ages=ages.numpy(), **named)


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
