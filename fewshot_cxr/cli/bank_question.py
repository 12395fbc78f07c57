"""How films are asked of a bank, and where the answers go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot_cxr._version import __version__
from fewshot_cxr.cli.answer_table import films_key
from fewshot_cxr.cli.outputs import keeps_paths
from fewshot_cxr.workflows.compute import Compute

if TYPE_CHECKING:
    from fewshot_cxr.inference import ExportedBank
    from fewshot_cxr.inference.bank import SupportBank

_MOST_IN_JSON = 10_000


@dataclass(frozen=True, kw_only=True)
class BankQuestion:
    """How films are asked, and where the answers go.

    Args:
        never_abstain: name the nearest finding whatever is against it.
        n_nearest: exemplars that an answer shows.
        prevalence: finding -> share where the films come from; None: as in the calibration.
        per: "film" or "patient", whose films are joined into one answer.
        patient_pattern: of paths, for `per` patient.
        any_modality: take what is no X-ray of the chest by its header, too.
        details: print everything that is said of each film.
        resume: go on where a killed run ended.
        csv_file: for the answers as a table.
        html_file: for a page.
        json_file: for all that is said of each film; "-": standard output.
    """

    never_abstain: bool = False
    n_nearest: int = 3
    prevalence: Mapping[str, float] | None = None
    per: str = "film"
    patient_pattern: str | None = None
    any_modality: bool = False
    details: bool = False
    resume: bool = False
    csv_file: Path | None = None
    html_file: Path | None = None
    json_file: str | None = None

    def __post_init__(self) -> None:
        if self.resume and self.csv_file is None:
            raise click.UsageError("--resume goes on with a table: name it (--csv FILE)")
        if self.resume and (self.json_file or self.html_file or self.details):
            raise click.UsageError(
                "--resume knows of earlier answers what --csv holds: leave out --json, --html and --details"
            )
        if self.patient_pattern is not None and self.per != "patient":
            raise click.UsageError("--patient-pattern joins films of one patient: add --per patient")

    def check_number(self, n_films: int) -> None:
        """Refuse JSON of so many films that it would not fit in memory.

        Raises:
            click.UsageError: it is refused.
        """
        if self.json_file is not None and n_films > _MOST_IN_JSON:
            raise click.UsageError(
                f"--json keeps all answers in memory, at most of {_MOST_IN_JSON:,} films, and these are {n_films:,}: "
                "take --csv"
            )

    def key(self, bank: SupportBank | ExportedBank, files: Sequence[str], compute: Compute) -> dict[str, Any]:
        """Return what decides the answers, each part under the name that a person knows it by."""
        fitted = json.dumps(bank.fitted_json(), sort_keys=True)
        return {
            "bank": bank.content_hash,
            "calibration": hashlib.sha256(fitted.encode()).hexdigest(),
            "list of films": films_key(files),
            "version of fewshot_cxr": __version__,
            "--never-abstain": self.never_abstain,
            "--n-nearest": self.n_nearest,
            "--prevalence": None if self.prevalence is None else dict(self.prevalence),
            "--per": self.per,
            "--patient-pattern": self.patient_pattern,
            "--any-modality": self.any_modality,
            "--index": bank.index,
            "--batch-size": compute.batch_size,
            "--device": compute.device,
            "--keep-paths": keeps_paths(),
        }
