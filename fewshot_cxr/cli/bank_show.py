"""`fscxr bank show`: what a bank holds, in words or as a page."""

from pathlib import Path

import click

from fewshot_cxr import report
from fewshot_cxr.cli.bank_parts import bank_argument, show_bank
from fewshot_cxr.cli.console import say_written, show_table, write_page, write_result
from fewshot_cxr.cli.flags import json_flag
from fewshot_cxr.cli.outputs import page_file
from fewshot_cxr.inference.bank import SupportBank, bank_json


@click.command()
@bank_argument
@click.option("--exemplars", "lists", is_flag=True, help="List every exemplar.")
@click.option("--html", "html_file", type=page_file, help="Write a page to look at.")
@json_flag
def command(*, bank_path: Path, lists: bool, html_file: Path | None, json_file: str | None) -> None:
    """Show what a bank holds: exemplars, patients and sources of each finding, what it promises, what to beware of.

    \b
    Example: fscxr bank show clinic.bank
    """
    bank = SupportBank.load(bank_path)
    show_bank(bank, to_stderr=json_file == "-")
    if lists:
        rows = list(zip(bank.table.findings, bank.table.films, bank.table.sources, strict=True))
        show_table("Exemplars", ("finding", "film", "source"), rows, to_stderr=json_file == "-")
    if html_file is not None:
        write_page(html_file, report.render_page(report.bank_page(bank)))
    say_written(html_file)
    write_result(bank_json(bank), json_file)
