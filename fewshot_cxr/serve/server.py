"""The server: a socket, and one process or several that answer on it."""

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import uvicorn
from uvicorn.supervisors import Multiprocess

from fewshot_cxr.serve.app import make_app
from fewshot_cxr.serve.connections import Connection
from fewshot_cxr.serve.settings import Settings

_MORE_CONNECTIONS = 768  # than requests that may be open: the others are told so in a sentence


def configured(settings: Settings, *, n_workers: int = 1) -> uvicorn.Config:
    """Return how uvicorn is to serve.

    Args:
        settings: what is served.
        n_workers: processes.
    """
    limits = settings.limits
    return uvicorn.Config(
        partial(make_app, settings),
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=n_workers,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        access_log=False,  # names of findings and films stand in addresses
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.n_requests + _MORE_CONNECTIONS,
        timeout_graceful_shutdown=round(limits.ending_seconds),
    )


def bound(settings: Settings) -> socket.socket:
    """Return a socket that listens at the address of the settings.

    Raises:
        OSError: it is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((settings.host.strip("[]"), settings.port))
        opened.listen(2048)
    except OSError as error:
        opened.close()
        where = f"{settings.host}:{settings.port}"
        raise OSError(f"{where} cannot be listened on ({error.strerror}): name another --port or --host") from error
    opened.set_inheritable(True)
    return opened


def serve(settings: Settings, *, n_workers: int = 1, ready: Callable[[str], None] | None = None) -> None:
    """Serve until a signal ends it; what waits then is answered first.

    Args:
        settings: what is served, and where.
        n_workers: processes; each answers with the bank of the same file.
        ready: called with the address, once it is taken.

    Raises:
        OSError: the address cannot be had.
    """
    opened = bound(settings)
    settings = replace(settings, port=opened.getsockname()[1])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = configured(settings, n_workers=n_workers)
    host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
    if ready is not None:
        ready(f"http://{host}:{settings.port}/")
    with opened:
        if n_workers > 1:
            Multiprocess(config, [opened]).run()
        else:
            uvicorn.Server(config).run([opened])
