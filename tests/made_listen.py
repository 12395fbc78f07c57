"""What tests of `fscxr listen` share: films to send, a sender, a bank that needs no network, a node that stores."""

import threading
from contextlib import contextmanager
from itertools import count
from unittest.mock import patch

import numpy as np
import pytest
from made_dicom import NAME, NUMBER, dataset

from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.listen import Listener, Port, parse_destination

pynetdicom = pytest.importorskip("pynetdicom", reason="the extra [listen] is not installed")
pydicom = pytest.importorskip("pydicom")

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
SECONDARY_CAPTURE, ECHO = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.1.1"
STUDY = "1.2.826.0.1.4711.8"
SECRETS = (NAME, "JANE", NUMBER, "ACC-4711", "19610213", "4711")
"""None of these may be in a line, a name of a file or JSON."""


def film_to_send(number=0, *, sop_class=CR, **elements):
    """A film of a patient, with a header full of what must not get out."""
    noise = np.random.default_rng(number).integers(0, 255, (64, 56), dtype=np.uint8)
    whose = {
        "SOPInstanceUID": f"1.2.826.0.1.4711.9.{number}",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": "1.2.826.0.1.4711.7",
        "StudyDate": "20240229",
        "StudyTime": "120000",
        "StudyID": "S1",
        "AccessionNumber": "ACC-4711",
        "PatientBirthDate": "19610213",
        "PatientSex": "F",
        "ReferringPhysicianName": "WHO^DR",
        "PatientComments": "JANE is my neighbour",
        "PatientAddress": "4711 Lane",
        "OtherPatientIDs": "4711-2",
        "InstitutionName": "JANE Hospital",
        "Modality": "CR" if sop_class == CR else "DX",
    }
    film = dataset(noise, SOPClassUID=sop_class, **(whose | elements))
    film.file_meta.MediaStorageSOPClassUID = sop_class
    film.file_meta.MediaStorageSOPInstanceUID = film.get("SOPInstanceUID", "1.2.3")
    return film


class PlainBank:
    """Answers without an encoder; each call waits for `may_answer`."""

    content_hash = "0123456789abcdef" * 4

    def __init__(self):
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.n_asked = 0

    def answers(self, files, **_):
        for file in files:
            self.may_answer.wait(30)
            self.n_asked += 1
            distances = {"normal": 1.25, "effusion": 2.5}
            abstains = self.n_asked % 2 == 0
            plain = Answer(str(file), "normal", "normal", distances=distances)
            yield plain.abstained("unknown", "it is far from all exemplars") if abstains else plain


@contextmanager
def listening(folder, bank=None, **options):
    """A listener that writes into a folder (or to a destination), with the lines that it tells."""
    lines = []
    port = options.pop("port", Port(port=0))
    destination = options.pop("destination", None) or parse_destination(str(folder), own_title="FSCXR")
    how = {"retry_seconds": 30.0} | options
    numbers = count()  # in place of films' random names, which may hold the digits of a secret
    listener = Listener(bank or PlainBank(), destination, port, tell=lines.append, **how)
    with patch("fewshot_cxr.listen.intake.secrets.token_hex", lambda n_bytes: f"{next(numbers):08x}"), listener:
        listener.lines = lines
        yield listener


def associated(port, *, title="FSCXR", own="SENDER", classes=(CR, DX, ECHO)):
    """An association with a listener; it may have been refused."""
    entity = pynetdicom.AE(ae_title=own)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for one in classes:
        entity.add_requested_context(one)
    return entity.associate("127.0.0.1", port, ae_title=title)


def send(port, films, **options):
    """Send films over one association, and return the statuses."""
    association = associated(port, **options)
    assert association.is_established
    try:
        return [association.send_c_store(film).get("Status") for film in films]
    finally:
        association.release()


def pages_in(folder):
    """All pages in a folder, read back."""
    return [pydicom.dcmread(file) for file in sorted(folder.glob("*.dcm"))]


@contextmanager
def storing_node(port=0, status=0x0000, classes=(SECONDARY_CAPTURE,)):
    """A node that stores; yields (port, what it has)."""
    kept, entity = [], pynetdicom.AE(ae_title="RESEARCH")
    for one in classes:
        entity.add_supported_context(one)

    def keep(event):
        kept.append(event.dataset)
        return status

    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, keep)])
    try:
        yield server.server_address[1], kept
    finally:
        entity.shutdown()
