"""Where answers go: into a folder, or to another DICOM node."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydicom import Dataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from fewshot_cxr.listen.network import new_entity
from fewshot_cxr.listen.objects import file_content
from fewshot_cxr.whole_files import check_writable, write_bytes

if TYPE_CHECKING:
    from pynetdicom.association import Association

_WRITTEN = (SecondaryCaptureImageStorage, ComprehensiveSRStorage)
_PEER = re.compile(r"(?P<title>[^@/\\]{1,16})@(?P<host>[^@/\\]+):(?P<port>[0-9]{1,5})")
_MOST_PORTS = 65535
_SECONDS = 30.0


@dataclass(frozen=True)
class Undelivered:
    """Why an object did not get to its destination.

    Args:
        why: in words that say nothing of the film.
        is_final: whether it is of no use to try again.
    """

    why: str
    is_final: bool = False


class Destination(Protocol):
    """Where answers go."""

    def check(self) -> str:
        """Try it out, and return what is wrong with it; "" is nothing. What can never work is an OSError."""

    def deliver(self, made: Sequence[Dataset]) -> list[Undelivered | None]:
        """Deliver objects; return for each why it did not get there, None for those that did. Nothing is raised."""


@dataclass(frozen=True)
class ToFolder:
    """A folder, in which each object is a file named by its own new UID; none is ever replaced."""

    folder: Path

    def check(self) -> str:
        """See `Destination`."""
        try:
            check_writable(self.folder / "checked")
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise OSError(f"{self.folder} cannot be written: name another folder ({why})") from error
        return ""

    def deliver(self, made: Sequence[Dataset]) -> list[Undelivered | None]:
        """See `Destination`."""
        return [self._write(one) for one in made]

    def __str__(self) -> str:
        return str(self.folder)

    def _write(self, made: Dataset) -> Undelivered | None:
        file = self.folder / f"{made.SOPInstanceUID}.dcm"
        if file.exists():
            return Undelivered("a file of its name is there", is_final=True)
        try:
            write_bytes(file, file_content(made))
        except OSError as error:
            return Undelivered(f"it cannot be written: {error.strerror or 'no room on the disk'}")
        return None


@dataclass(frozen=True)
class ToPeer:
    """A DICOM node that stores.

    Args:
        title: its AE title.
        host: name or address.
        port: of it.
        own_title: the AE title that we call with.
        seconds: that an answer of it is waited for.
    """

    title: str
    host: str
    port: int
    own_title: str
    seconds: float = _SECONDS

    def check(self) -> str:
        """See `Destination`."""
        association = self._associate()
        if not association.is_established and not association.rejected_contexts:
            return "it cannot be reached, or refuses us"
        if association.is_established:
            association.release()
        return "" if _takes(association, SecondaryCaptureImageStorage) else "it takes no Secondary Capture images"

    def deliver(self, made: Sequence[Dataset]) -> list[Undelivered | None]:
        """See `Destination`."""
        association = self._associate()
        told = [_send(association, one) for one in made]
        if association.is_established:
            association.release()
        return told

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"

    def _associate(self) -> "Association":
        entity = new_entity(self.own_title, self.seconds)
        for sop_class in _WRITTEN:
            entity.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        return entity.associate(self.host, self.port, ae_title=self.title)


def parse_destination(text: str, *, own_title: str) -> ToFolder | ToPeer:
    """Return a destination as a person wrote it.

    Args:
        text: AE@HOST:PORT, or a folder.
        own_title: the AE title that we call with.

    Raises:
        ValueError: it has the form of a node, and there is no such port.
    """
    found = _PEER.fullmatch(text)
    if found is None:
        return ToFolder(Path(text))
    if not 0 < int(found["port"]) <= _MOST_PORTS:
        raise ValueError(f"{text} names no port: take one of 1 to {_MOST_PORTS}")
    return ToPeer(found["title"].strip(), found["host"].strip("[]"), int(found["port"]), own_title)


def _takes(association: "Association", sop_class: str) -> bool:
    return any(one.abstract_syntax == sop_class for one in association.accepted_contexts)


def _send(association: "Association", made: Dataset) -> Undelivered | None:
    if not association.is_established and not association.rejected_contexts:
        return Undelivered("the destination cannot be reached, refuses us, or has left")
    if not _takes(association, made.SOPClassUID):
        return Undelivered("the destination takes no such objects", is_final=True)
    try:
        code = association.send_c_store(made).get("Status")
    except RuntimeError:  # the association has just ended
        code = None
    if code is None:
        return Undelivered("the connection broke, or nothing was answered in time")
    # Source: DICOM PS3.4, B.2.3: 0xBxxx has stored it, with a warning; 0xA7xx lacks room for now.
    if code == 0 or code >> 12 == 0xB:
        return None
    return Undelivered(f"the destination refused it with status 0x{code:04X}", is_final=code >> 8 != 0xA7)
