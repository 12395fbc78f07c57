"""`fscxr bank prevalence`: how frequent findings are among unlabelled films."""

from pathlib import Path

import click

from fewshot_cxr.cli.bank_answers import named_files
from fewshot_cxr.cli.bank_parts import bank_argument, films_of, place_flags, split_flag
from fewshot_cxr.cli.console import bars_for, say, show_table, write_result
from fewshot_cxr.cli.flags import batch_compute_flags, json_flag, seed_flag
from fewshot_cxr.cli.sources import Reading, reading_flags
from fewshot_cxr.data.film_patients import films_of_patients
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.inference.bank.film_prevalence import FilmPrevalence, film_prevalence
from fewshot_cxr.workflows.compute import Compute

_LEAST = 0.001  # a prevalence that is stated is above 0


@click.command()
@bank_argument
@click.argument("films", metavar="FILMS", nargs=-1, required=True)
@click.option("--data", "source", help="Labelled films of other patients.  [default: the exemplars]")
@split_flag
@place_flags
@seed_flag
@batch_compute_flags
@reading_flags
@json_flag
def command(
    *,
    bank_path: Path,
    films: tuple[str, ...],
    source: str | None,
    split: str | None,
    checkpoint: Path | None,
    weights: Path | None,
    seed: int,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Estimate how frequent each finding is among unlabelled FILMS, or refuse where they look shifted.

    The films of a patient (PatientID, or --patient-pattern) count as one. Ten labelled patients of each finding are
    needed.

    \b
    Example: fscxr bank prevalence clinic.bank new/
    """
    bank = SupportBank.load(bank_path, checkpoint, weights=weights)
    labelled = None if source is None else films_of(source, split, reading)
    pattern = reading.options.get("patient_pattern")
    patients = films_of_patients(named_files(films), patient_pattern=None if pattern is None else str(pattern))
    with bars_for(compute) as compute:
        found = film_prevalence(
            bank,
            patients,
            labelled=labelled,
            any_modality=reading.any_modality,
            batch_size=compute.batch_size,
            device=compute.device,
            seed=seed,
            progress=compute.report("films"),
        )
    _show(found)
    write_result(found.to_json(), json_file)


def _show(found: FilmPrevalence) -> None:
    estimate, rows = found.estimate, []
    for name, one in estimate.prevalence.items():
        low, high = one.ci95_patients or (float("nan"), float("nan"))
        between = f"{100 * low:.1f} to {100 * high:.1f} %"
        rows.append((name, f"{100 * one.value:.1f} %", between, f"{100 * estimate.prior[name]:.1f} %"))
    show_table("Prevalence", ("finding", "prevalence", "95 % over patients", "labelled"), rows)
    say(
        f"{estimate.n_films:,} films of {estimate.n_patients:,} patients; {estimate.n_unknown_films:,} more are unknown"
    )
    for reason, n_films in found.left_out.items():
        say(f"left out: {reason}, {n_films:,} films")
    stated = ",".join(f"{name}={max(share, _LEAST):.3g}" for name, share in list(estimate.shares.items())[1:])
    say(f"no sign of a shift (p = {estimate.shift.p_value:.2f}); next: fscxr predict --prevalence {stated}")
