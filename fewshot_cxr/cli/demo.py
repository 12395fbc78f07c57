"""`fscxr demo`: the library's story, offline."""

from pathlib import Path

import click

from fewshot_cxr.cli.console import print_line, progress_bars, say, show_table, write_result
from fewshot_cxr.cli.flags import device_flag, folder_path, json_flag, seed_flag, threads_flag
from fewshot_cxr.cli.results import show_prediction, show_result
from fewshot_cxr.report.tables import interval_text, value_text
from fewshot_cxr.workflows.demo import BANK_FILE, NEW_FINDING, run_demo
from fewshot_cxr.workflows.demo_bank import BankStory, share_table


@click.command()
@click.option("--out", default=Path("runs/demo"), type=folder_path)
@click.option("--patients", "n_patients", default=100, type=click.IntRange(20), help="Per finding.")
@device_flag
@threads_flag
@seed_flag
@json_flag
def command(*, out: Path, n_patients: int, device: str, seed: int, json_file: str | None) -> None:
    """Teach a published encoder five findings on synthetic films; then a sixth arrives with five films.

    Ends with a support bank, which answers or abstains. Writes OUT/report.html, manifest.csv, films/, checkpoint/,
    figures/ and demo.bank. Needs no network.

    \b
    Example: fscxr demo --out runs/demo
    """
    with progress_bars() as progress:
        result = run_demo(out, seed=seed, n_patients=n_patients, device=device, progress=progress)
    recall = result.episodes.per_class_recall[NEW_FINDING]
    say(
        f"New finding: {NEW_FINDING}, of which nothing was taught. With 5 labelled films of it {value_text(recall)} "
        f"of its others are recognised (95 % over patients: {interval_text(recall.ci95_patients)})."
    )
    show_result(result.episodes, is_whole=False)
    show_prediction([result.prediction])
    say(f"its label: {result.true_finding}")
    _show_bank(result.bank)
    say(f"ask it about other films: fscxr predict FILM --bank {out / BANK_FILE}")
    say(f"written: {result.report} (open it in a browser), in {result.seconds:.0f} s")
    found = {"episodes": result.episodes.to_json(), "prediction": result.prediction.to_json()}
    write_result(found | {"bank": result.bank.to_json()}, json_file)
    say(f'next: fscxr serve {out / BANK_FILE}, and drop films on its page (pip install "fewshot_cxr[serve]")')


def _show_bank(story: BankStory) -> None:
    """Print what the bank answered, and one film for which it abstained."""
    table = share_table(story)
    show_table("A support bank, to which the new finding was added", table.columns, table.rows)
    if story.example is not None:
        print_line(repr(story.answers[story.example]))
