"""What is served, where, and how much of anything is taken."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

_SHORTEST_TOKEN = 16  # letters
_LOCAL_NAMES = ("localhost",)


@dataclass(frozen=True)
class Limits:
    """How much is taken; beyond it a request is refused with a sentence.

    Args:
        n_films: of one request.
        film_bytes: of one file.
        request_bytes: of all that a request holds.
        open_bytes: of all requests that are being read.
        n_waiting: films that wait for an answer.
        n_requests: that are open at a time.
        upload_seconds: until a request has come whole.
        answer_seconds: until its films are answered.
        ending_seconds: that those who wait are given when the server ends.
    """

    n_films: int = 64
    film_bytes: int = 64 << 20
    request_bytes: int = 256 << 20
    open_bytes: int = 2 << 30
    n_waiting: int = 512
    n_requests: int = 256
    upload_seconds: float = 60.0
    answer_seconds: float = 120.0
    ending_seconds: float = 30.0


@dataclass(frozen=True)
class Settings:
    """What is served, and where.

    Args:
        bank: its file, which changes are written to.
        host: address to listen on.
        port: 0 takes a free one.
        token: who has it may ask and change; None: whoever reaches the address.
        encoder: run folder of the bank's encoder; None: it is looked for.
        weights: the file that a published encoder started from.
        device: "auto", "cpu", "cuda" or "cuda:N".
        batch_size: films that go through the network together.
        limits: of what is taken.

    Raises:
        ValueError: others can reach the address and there is no token, or it is too short, or no header can carry it.
    """

    bank: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    encoder: Path | None = None
    weights: Path | None = None
    device: str = "auto"
    batch_size: int = 16
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.token is None and not self.is_local:
            raise ValueError(
                f"{self.host} is reached from other machines, which takes a token: write a long random text into a "
                "file that you alone may read, and name it by --token-file; or set FSCXR_TOKEN to it"
            )
        if self.token is None:
            return
        is_short = len(self.token) < _SHORTEST_TOKEN
        if is_short or not (self.token.isascii() and self.token.isprintable()):
            lacks = f"has {len(self.token)} letters and needs {_SHORTEST_TOKEN}" if is_short else "is no line of ASCII"
            raise ValueError(
                f"the token {lacks}: take a random one, such as "
                "that of python -c 'import secrets; print(secrets.token_urlsafe())'"
            )

    @property
    def is_local(self) -> bool:
        """Whether this machine alone reaches the address."""
        return is_local(self.host)


def is_local(host: str) -> bool:
    """Return whether a name or an address is that of this machine as it calls itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in _LOCAL_NAMES
