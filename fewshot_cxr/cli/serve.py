"""`fscxr serve`: the browser page and the JSON API of a support bank."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from fewshot_cxr.cli.console import say
from fewshot_cxr.cli.flags import device_flag, encoder_path, there_file, there_path, threads_flag

_TOKEN = "FSCXR_TOKEN"
_INSTALL = 'a part of the server is not installed ({}): pip install "fewshot_cxr[serve]"'


@click.command()
@click.argument("bank", metavar="BANK", type=there_file)
@click.option("--host", default="127.0.0.1", help="Address to listen on; another than this machine's takes a token.")
@click.option("--port", default=8000, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--token-file", type=there_file, help=f"A file that holds the token.  [default: {_TOKEN}, else none]")
@click.option("--checkpoint", type=encoder_path, help="Run folder or encoder file of the bank; else found by hash.")
@click.option("--weights", type=there_path, help="The file that its published encoder started from.")
@click.option(
    "--max-mb", default=64, type=click.IntRange(1, 1024), help="Of one film; four times as much of a request."
)
@click.option("--max-films", default=64, type=click.IntRange(1, 10_000), help="Of one request.")
@click.option(
    "--max-waiting", default=512, type=click.IntRange(1), help="Films in line; beyond them: come again (429)."
)
@click.option("--batch-size", default=16, type=click.IntRange(1), help="Films at a time.")
@click.option("--workers", default=1, type=click.IntRange(1, 64), help="Processes that answer.")
@device_flag
@threads_flag
def command(
    *,
    bank: Path,
    host: str,
    port: int,
    token_file: Path | None,
    checkpoint: Path | None,
    weights: Path | None,
    max_mb: int,
    max_films: int,
    max_waiting: int,
    batch_size: int,
    workers: int,
    device: str,
) -> None:
    """Serve BANK as a page to drop films on, and as a JSON API. Research use only, not a medical device.

    Others on this machine can reach it, and nobody else: for more, name --host and a token. Ctrl-C ends it, after what
    waits is answered. Changes made on the page are written to BANK; what they were lies in BANK.changes.

    \b
    Example: fscxr serve clinic.bank
             fscxr serve clinic.bank --host 0.0.0.0 --token-file token.txt
    """
    try:
        from fewshot_cxr.serve import server, settings
    except ModuleNotFoundError as error:
        raise ImportError(_INSTALL.format(error.name)) from error
    limits = replace(
        settings.Limits(),
        n_films=max_films,
        film_bytes=max_mb << 20,
        request_bytes=max_mb << 22,
        n_waiting=max(max_waiting, max_films),
    )
    served = settings.Settings(
        bank=bank.resolve(),
        host=host,
        port=port,
        token=_token(token_file),
        encoder=checkpoint,
        weights=weights,
        device=device,
        batch_size=batch_size,
        limits=limits,
    )
    say("research use only, not a medical device")
    with suppress(KeyboardInterrupt):  # how a server ends
        server.serve(
            served, n_workers=workers, ready=lambda address: say(f"{bank} is served at {address} (Ctrl-C ends)")
        )
    say("ended")


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(_TOKEN, "").strip() or None
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    if not text:
        raise ValueError(f"{file} holds no token: without --token-file this machine is served without one")
    return text
