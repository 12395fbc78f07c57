"""A server in a thread of its own, and requests to it over real HTTP."""

import http.client
import json
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fewshot_cxr.serve.server import running
from fewshot_cxr.serve.settings import Settings


@dataclass(frozen=True)
class Answered:
    """A response: its status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def detail(self):
        return self.json()["detail"]


@dataclass(frozen=True)
class RunningServer:
    """A server that runs."""

    port: int
    settings: Settings

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answered(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def delete(self, path, **headers):
        return self.ask("DELETE", path, **headers)

    def post(self, path, films=(), *, texts=None, headers=None):
        body, kind = form(films, **(texts or {}))
        return self.ask("POST", path, body, **{"Content-Type": kind, **(headers or {})})


def files_of(films, n=None):
    """Return the files of the first n films."""
    return [films.file(film) for film in list(films)[:n]]


def form(films=(), **texts):
    """Return the bytes of a form, and its content type; films are files, or (name, bytes) pairs."""
    mark = uuid.uuid4().hex
    parts = []
    for name, value in texts.items():
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for film in films:
        name, content = film if isinstance(film, tuple) else (Path(film).name, Path(film).read_bytes())
        head = f'--{mark}\r\nContent-Disposition: form-data; name="films"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"


@contextmanager
def served(bank, **changes):
    """Yield a server of a bank; at the end it is ended, and waits for what it is at."""
    settings = Settings(bank=Path(bank), port=0, device="cpu", **changes)
    with running(settings) as url:
        yield RunningServer(int(url.rstrip("/").rpartition(":")[2]), settings)
