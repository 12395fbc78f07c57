"""`fscxr export`: a bank or an encoder for runtimes other than torch."""

from functools import partial
from pathlib import Path

import click

from fewshot_cxr import export as exports  # each name loads when it is asked for
from fewshot_cxr.cli.app import Group
from fewshot_cxr.cli.bank_answers import named_files
from fewshot_cxr.cli.bank_parts import place_flags
from fewshot_cxr.cli.console import progress_bars, say, show_table, write_result
from fewshot_cxr.cli.flags import json_flag, there_path
from fewshot_cxr.cli.outputs import onnx_file
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.inference.bank import SupportBank


@click.group(cls=Group)
def command() -> None:
    """Write a bank or an encoder for runtimes other than torch.

    \b
    Example: fscxr export onnx clinic.bank --out clinic.onnx
    """


@command.command("onnx")
@click.argument("source", metavar="BANK|CHECKPOINT", type=there_path)
@place_flags
@click.option("--films", "films", multiple=True, metavar="PATH", help="Real films to compare on, too; repeat it.")
@click.option("--out", required=True, type=onnx_file, help="The file to write.")
@json_flag
def onnx(
    *,
    source: Path,
    checkpoint: Path | None,
    weights: Path | None,
    films: tuple[str, ...],
    out: Path,
    json_file: str | None,
) -> None:
    """Write a support bank, or an encoder, as one ONNX file, and compare it with torch.

    A bank of rule mean_distance, prototype, nearest or linear_probe goes whole: exemplars, thresholds, calibration,
    operating points, licence. `fscxr predict --runtime onnx` answers by it as the bank does, without torch.

    \b
    Example: fscxr export onnx clinic.bank --films some/ --out clinic.onnx
             fscxr export onnx run --out encoder.onnx
    """
    files = named_files(films)
    if source.suffix == ".bank":
        bank = SupportBank.load(source, checkpoint, weights=weights)
        with progress_bars() as bars:
            made = exports.export_bank(bank, out, films=files, progress=partial(bars, "exemplars"))
    else:
        made = exports.export_encoder(load_encoder(source), out, films=files)
    rows = [(name, *(f"{gap:.1e}" for gap in gaps)) for name, gaps in made.differences.items()]
    on = ("noise", *([f"{made.n_films:,} films"] if made.n_films else []))
    show_table("Largest difference from torch, in parts of the largest number", ("output", *on), rows)
    how = f"fscxr predict FILMS --bank {out} --runtime onnx" if source.suffix == ".bank" else "docs/export.md"
    say(f"written: {out}, {made.n_bytes / 1e6:.1f} MB (next: {how})")
    write_result(made.to_json(), json_file)
