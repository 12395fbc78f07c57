"""The DICOM node: who may call, what is taken, and what its network tells."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom import uid

from fewshot_cxr.listen.network import new_entity

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.events import Event

_TITLE = re.compile(r"[ -\[\]-~]{1,16}")  # Source: DICOM PS3.5, 6.2 (AE)
FILMS = (uid.ComputedRadiographyImageStorage, uid.DigitalXRayImageStorageForPresentation)
"""SOP classes that are taken. Films for processing are not: their gray is not yet what a reader sees."""
_VERIFICATION = "1.2.840.10008.1.1"
SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
)
"""Transfer syntaxes that are taken: those that the library decodes."""
_GREETING_SECONDS = 10.0  # a probe of the port that says nothing takes a place for so long
MOST_FILM_BYTES = 2**27
"""Of a film; a connection that sends more is ended, since all that arrives is kept in memory."""


@dataclass(frozen=True)
class Port:
    """Where and for whom to listen.

    Args:
        port: 0: any that is free.
        host: address of this machine; DICOM asks nobody who he is, so that others can reach it only if one says so.
        title: our AE title; who calls another one is refused.
        callers: AE titles that may call; (): any.
        n_associations: at a time; more are refused.
        seconds: that a silent peer is waited for.
    """

    port: int = 11112
    host: str = "127.0.0.1"
    title: str = "FSCXR"
    callers: tuple[str, ...] = ()
    n_associations: int = 8
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for title in (self.title, *self.callers):
            if not _TITLE.fullmatch(title) or not title.strip():
                raise ValueError(f"an AE title has 1 to 16 letters, digits or signs, and no backslash; got {title!r}")


USUAL_PORT = Port()


class Receiver:
    """A running DICOM node that takes films.

    Args:
        port: where and for whom.
        take: called with the content of a file and the UID of the class it was announced with; returns a status.
        tell: called with a line of log.

    Raises:
        OSError: the port is taken.
        ImportError: pynetdicom is not installed.
    """

    def __init__(self, port: Port, take: "Callable[[bytes, str], int]", tell: "Callable[[str], None]") -> None:
        self._take, self._tell = take, tell
        self._seconds, self._n_bytes = port.seconds, dict[Any, int]()
        self._entity = new_entity(port.title, port.seconds)
        self._entity.acse_timeout = min(port.seconds, _GREETING_SECONDS)
        self._entity.maximum_associations = port.n_associations
        self._entity.require_called_aet = True
        self._entity.require_calling_aet = list(port.callers)
        self._entity.add_supported_context(_VERIFICATION)
        for sop_class in FILMS:
            self._entity.add_supported_context(sop_class, list(SYNTAXES))
        from pynetdicom import evt

        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_C_ECHO, lambda event: 0x0000),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, self._count),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, lambda event: self._tell(f"{_peer(event)}: refused; its AE title, ours, or too many")),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_CONN_CLOSE, lambda event: self._n_bytes.pop(event.assoc, None)),
        ]
        try:
            self._server = self._entity.start_server((port.host, port.port), block=False, evt_handlers=handlers)
        except OSError as error:
            where = f"{port.host}:{port.port}"
            raise OSError(f"{where} cannot be listened on ({error.strerror}): name another --port or --host") from error

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def close(self) -> None:
        """End all connections, and listen no more."""
        self._entity.shutdown()

    def _opened(self, event: "Event") -> None:
        """Let go of a peer that falls silent within a message, or claims one of gigabytes; pynetdicom would wait."""
        channel: Any = event.assoc.dul.socket
        channel.socket.settimeout(self._seconds)
        read = channel.recv

        def read_some(n_bytes: int) -> bytearray:
            if n_bytes > MOST_FILM_BYTES:
                self._tell(f"{_peer(event)}: claims a message of {n_bytes / 1e6:,.0f} MB: broken off")
                raise OSError
            return bytearray(read(n_bytes))

        channel.recv = read_some

    def _store(self, event: "Event") -> int:
        self._n_bytes.pop(event.assoc, None)
        return self._take(event.encoded_dataset(), str(event.request.AffectedSOPClassUID))

    def _count(self, event: "Event") -> None:
        """End a connection that sends more than any film has."""
        n_bytes = self._n_bytes[event.assoc] = self._n_bytes.get(event.assoc, 0) + len(event.data)
        if n_bytes > MOST_FILM_BYTES:
            event.assoc.abort(block=False)
            self._tell(f"{_peer(event)}: sends more than {MOST_FILM_BYTES / 1e6:.0f} MB at once: broken off")

    def _aborted(self, event: "Event") -> None:
        if event.assoc.accepted_contexts:  # not one that only looked whether the port is open
            self._tell(f"{_peer(event)}: the connection was broken off")

    def _accepted(self, event: "Event") -> None:
        if event.assoc.rejected_contexts and not event.assoc.accepted_contexts:
            self._tell(f"{_peer(event)}: offers nothing that is taken: films of CR or DX are")


def _peer(event: "Event") -> str:
    """Return the address of a peer; its AE title is text of its own, and may be anything."""
    return f"peer {event.assoc.requestor.address}"
