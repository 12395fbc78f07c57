"""The fourteen columns that CheXpert, MIMIC-CXR-JPG and BRAX share: 1, 0, -1 or blank for each finding.

Source: Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison", 2019,
arXiv:1901.07031.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from fewshot_cxr.data.readers.chestxray14 import NO_FINDING

FINDINGS = (
    *(NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
# What an uncertain finding is: True present, False absent, None neither; "ignore" is the paper's word (U-Ignore).
UNCERTAIN: dict[str, bool | None] = {"unstated": None, "ignore": None, "positive": True, "negative": False}
UNCERTAIN_NOTE = {
    None: "uncertain findings (-1) are unstated: neither present nor absent (U-Ignore)",
    True: "uncertain findings (-1) count as present (U-Ones)",
    False: "uncertain findings (-1) count as absent (U-Zeros)",
}
ALL_UNCERTAIN = "every finding that they state is uncertain (--uncertain positive or negative takes them)"
_STATES = {"": 0} | {f"{state}{end}": state for state in (0, 1, -1) for end in ("", ".0")}


class Stated(NamedTuple):
    """What the cells of a row state: findings that are present, that nobody can tell, and what is wrong or ""."""

    findings: tuple[str, ...]
    unstated: tuple[str, ...]
    fault: str

    @property
    def unasked(self) -> str:
        """Why the row is passed over: nothing is left where all that is stated is uncertain."""
        return "" if self.findings or self.fault else ALL_UNCERTAIN


@lru_cache(maxsize=100_000)  # 220,000 rows of CheXpert have far fewer combinations
def stated(cells: Sequence[str], is_present: bool | None) -> Stated:
    """Return what the cells of FINDINGS state, in that order.

    Args:
        cells: "1" or "1.0" present, "0" absent, "-1" uncertain, "" not mentioned, which is taken for absent.
        is_present: what an uncertain finding is, as in UNCERTAIN.

    Returns:
        "No Finding" where all are absent, too.
    """
    found = [(name, state) for name, cell in zip(FINDINGS, cells, strict=True) if (state := _STATES.get(cell)) != 0]
    for name, state in found:
        if state is None:
            return Stated((), (), f"its {name} is {cells[FINDINGS.index(name)]!r}; 1, 0, -1 or blank was expected")
    present = tuple([name for name, state in found if state == 1 or is_present])
    unstated = tuple([name for name, state in found if state == -1]) if is_present is None else ()
    return Stated(present or (() if unstated else (NO_FINDING,)), unstated, "")


def sex_of(text: str) -> str | None:
    """Return "F" or "M" of Female, male, F, ... and None of anything else."""
    first = text.strip()[:1].upper()
    return first if first in ("F", "M") else None
