"""What a bank holds in one hash, and the receipt of what went out of it, which names no person."""

import hashlib
import json
from dataclasses import dataclass

import torch

from fewshot_cxr.inference.bank.exemplar_table import TEXTS, ExemplarTable
from fewshot_cxr.inference.bank.terms import BankTerms
from fewshot_cxr.storage import tensor_hash


@dataclass(frozen=True)
class Receipt:
    """That something went out of a bank: what kind of thing, how many films, and the bank's hash before and after.

    Attributes:
        what: "finding", "film" or "patient"; never its name.
        n_films: exemplars that went, with their thumbnails and their part in every threshold.
        before: `content_hash` of the bank that held them.
        after: of the one that does not.
    """

    what: str
    n_films: int
    before: str
    after: str

    def text(self) -> str:
        """Return it in one line."""
        films = "1 film" if self.n_films == 1 else f"{self.n_films:,} films"
        of_what = "" if self.what == "film" else f" of one {self.what}"
        return f"{films}{of_what} went; the bank was {self.before[:16]} and is {self.after[:16]}"


def named_part(**parts: str | None) -> tuple[str, str]:
    """Return what is to go, and its name; one of `finding`, `film` and `patient` is named.

    Raises:
        ValueError: none is, or several are.
    """
    given = [(what, name) for what, name in parts.items() if name]
    if len(given) != 1:
        raise ValueError("name what is to go: a finding, a film or a patient, one of them")
    return given[0]


def content_hash(table: ExemplarTable, terms: BankTerms) -> str:
    """Return the SHA-256 (hex) of exemplars and terms, the same in whatever order they came.

    Args:
        table: the exemplars.
        terms: how they decide.
    """
    facts = terms.to_json() | {"choice": ""}  # it says where exemplars came from, not what they are
    facts["encoder"] = facts["encoder"] | {"run": ""}  # the name of a folder, likewise
    # The JSON of [facts, {name: texts}], a part at a time: of a million exemplars it is 130 MB.
    digest = hashlib.sha256(f"[{json.dumps(facts, sort_keys=True)}, {{".encode())
    for number, name in enumerate(sorted(TEXTS)):
        digest.update(f'{", " if number else ""}"{name}": '.encode())
        digest.update(json.dumps(getattr(table, name)).encode())
    digest.update(b"}]")
    tensors = {name: getattr(table, name) for name in ("vectors", "features", "ages", "has_patient", "is_frontal")}
    if table.thumbnails is not None:
        tensors["thumbnails"] = table.thumbnails
    learned = {f"option {name}": value for name, value in terms.options.items() if isinstance(value, torch.Tensor)}
    return tensor_hash({name: torch.from_numpy(value) for name, value in tensors.items()} | learned, digest)
