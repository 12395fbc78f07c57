"""`fscxr listen`: a DICOM node that answers each film it receives."""

from pathlib import Path

import click
import numpy as np

from fewshot_cxr.cli.bank_parts import bank_argument, place_flags
from fewshot_cxr.cli.console import say, write_result
from fewshot_cxr.cli.failures import FAILED
from fewshot_cxr.cli.flags import comma_names, device_flag, json_flag, threads_flag
from fewshot_cxr.inference.bank import SupportBank, parse_prevalence
from fewshot_cxr.listen import Listener, Port, parse_destination
from fewshot_cxr.listen.answers import Asking

_USUAL = Port()


@click.command()
@bank_argument
@click.option("--out", required=True, metavar="DIR|AE@HOST:PORT", help="A folder, or a DICOM node that stores.")
@click.option("--port", default=_USUAL.port, type=click.IntRange(0, 65535), help="To listen on; 0: any free one.")
@click.option("--host", default=_USUAL.host, help="Address to listen on; 0.0.0.0 lets other machines in.")
@click.option("--ae-title", "title", default=_USUAL.title, help="Our AE title, called and calling.")
@click.option(
    "--allow", "callers", metavar="AE,AE", callback=comma_names, help="AE titles that may call.  [default: any]"
)
@click.option("--waiting", default=64, type=click.IntRange(1), help="Films without an answer that are kept, at most.")
@click.option("--retry", default=600.0, type=click.FloatRange(0), help="Seconds that a failing --out is tried again.")
@click.option("--sr", "with_report", is_flag=True, help="With each page a structured report (TID 1500), for programs.")
@click.option("--thumbnails", is_flag=True, help="Show nearest exemplars: films of other patients get into the record!")
@click.option("--prevalence", help="Of findings where you are, such as covid19=0.02,pneumonia=0.1.")
@click.option("--batch-size", default=8, type=click.IntRange(1), help="Films at a time, at most.")
@place_flags
@device_flag
@threads_flag
@json_flag
def command(
    *,
    bank_path: Path,
    out: str,
    port: int,
    host: str,
    title: str,
    callers: tuple[str, ...] | None,
    waiting: int,
    retry: float,
    with_report: bool,
    thumbnails: bool,
    prevalence: str | None,
    batch_size: int,
    checkpoint: Path | None,
    weights: Path | None,
    device: str,
    json_file: str | None,
) -> int:
    """Receive chest films (CR, DX) by C-STORE, and answer each with a page in a new series of its study.

    RESEARCH, NOT FOR DIAGNOSIS: that is burnt into each page. Ctrl-C takes no more films, and ends when those that were
    taken are answered; a second one ends at once. The exit code is 1 where an answer was lost.

    \b
    Example: fscxr listen clinic.bank --port 11112 --out pages
             fscxr listen clinic.bank --host 0.0.0.0 --allow CT1,GATEWAY --out RESEARCH@127.0.0.1:11113
    """
    bank = SupportBank.load(bank_path, checkpoint, weights=weights)
    where = Port(port=port, host=host, title=title, callers=callers or ())
    asking = Asking(
        batch_size=batch_size,
        device=device,
        prevalence=None if prevalence is None else parse_prevalence(prevalence),
        with_report=with_report,
        shown=_pictures(bank) if thumbnails else {},
    )
    destination = parse_destination(out, own_title=title)
    listener = Listener(bank, destination, where, asking=asking, most_waiting=waiting, retry_seconds=retry, tell=say)
    if thumbnails:
        say("warning: pages show exemplars, which are films of other patients, in the records of these patients")
    with listener:
        say(f"{title} listens on {host}:{listener.port}; answers go to {destination}; Ctrl-C ends it")
        if not callers and host not in ("127.0.0.1", "localhost", "::1"):
            say("warning: whoever reaches this port may send films: name those who may (--allow), and keep others out")
        try:
            listener.wait()
        except KeyboardInterrupt:
            say(f"no more films are taken; {listener.n_waiting} wait for an answer (Ctrl-C again leaves them)")
            listener.drain()
    say(listener.tally.words())
    write_result(listener.tally.to_json(), json_file)
    return FAILED if listener.tally.counts["lost"] else 0


def _pictures(bank: SupportBank) -> dict[str, np.ndarray]:
    """Return the thumbnails of a bank by the names of its exemplars."""
    if bank.table.thumbnails is None:
        raise click.UsageError("the bank keeps no thumbnails: build it with --thumbnails, or leave this flag out")
    return dict(zip(bank.table.names, bank.table.thumbnails, strict=True))
