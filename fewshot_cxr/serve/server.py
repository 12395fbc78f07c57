"""The server: a socket, and one process or several that answer on it."""

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import uvicorn

from fewshot_cxr.serve.app import make_app
from fewshot_cxr.serve.connections import Connection
from fewshot_cxr.serve.keeper import BankKeeper
from fewshot_cxr.serve.settings import Settings

_POLL = 0.01  # seconds
_REST = 1.0  # second before a process that ended is followed by another
_MORE_CONNECTIONS = 768  # than requests that may be open: the others are told so in a sentence


def _configured(settings: Settings, keeper: BankKeeper | None = None) -> uvicorn.Config:
    limits = settings.limits
    return uvicorn.Config(
        partial(make_app, settings, keeper),
        factory=True,
        host=settings.host,
        port=settings.port,
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


def _bound(settings: Settings) -> socket.socket:
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


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Serve in a thread of this process while the block lasts, as in a notebook; yield the address.

    Args:
        settings: what is served, and where.

    Raises:
        OSError: there is no such bank, or the address cannot be had.
        ValueError: the file is no bank.
        RuntimeError: the server did not start; its log tells why.
    """
    keeper, opened = BankKeeper(settings), _bound(settings)
    settings = replace(settings, port=opened.getsockname()[1])
    server = uvicorn.Server(_configured(settings, keeper))
    thread = threading.Thread(target=server.run, args=([opened],), name="fscxr-serve")
    with opened:
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(_POLL)
        if not server.started:
            raise RuntimeError("the server did not start, and its log tells why")
        try:
            yield _address(settings)
        finally:
            server.should_exit = True
            thread.join()


def _address(settings: Settings) -> str:
    host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}/"


def serve(settings: Settings, *, n_workers: int = 1, ready: Callable[[str], None] | None = None) -> None:
    """Serve until a signal ends it; what waits then is answered first.

    Args:
        settings: what is served, and where.
        n_workers: processes; each answers with the bank of the same file.
        ready: called with the address, once it is taken.

    Raises:
        OSError: there is no such bank, or the address cannot be had.
        ValueError: the file is no bank.
    """
    keeper, opened = BankKeeper(settings), _bound(settings)  # of several processes each reads the bank for itself
    settings = replace(settings, port=opened.getsockname()[1])
    if ready is not None:
        ready(_address(settings))
    with opened:
        if n_workers > 1:
            del keeper
            _serve_by_several(settings, opened, n_workers)
        else:
            uvicorn.Server(_configured(settings, keeper)).run([opened])


def _serve_by_several(settings: Settings, opened: socket.socket, n_workers: int) -> None:
    """Serve by processes of their own, and begin another for one that ends, until an interruption."""
    context = multiprocessing.get_context("spawn")
    workers: list[BaseProcess] = []
    try:
        while True:
            workers = [worker for worker in workers if worker.is_alive()]
            while len(workers) < n_workers:
                workers.append(context.Process(target=_work, args=(settings, opened), name="fscxr-serve"))
                workers[-1].start()
            wait([worker.sentinel for worker in workers])
            time.sleep(_REST)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(settings.limits.ending_seconds + _REST)


def _work(settings: Settings, opened: socket.socket) -> None:
    with suppress(KeyboardInterrupt):  # Ctrl-C goes to all processes
        uvicorn.Server(_configured(settings)).run([opened])
