"""Films go in by C-STORE, pages come out: each once, in the film's own study, whatever peers and disks do."""

import errno
import logging
import socket
import stat
import threading
import time
import warnings

import numpy as np
import pytest
from made_banks import laid_bank
from made_dicom import content_of
from made_listen import (
    CR,
    DX,
    ECHO,
    SECONDARY_CAPTURE,
    SECRETS,
    STUDY,
    PlainBank,
    associated,
    film_to_send,
    listening,
    pages_in,
    send,
    storing_node,
)
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fewshot_cxr.data import read_gray
from fewshot_cxr.data.quiet import quiet
from fewshot_cxr.listen import Port, parse_destination
from fewshot_cxr.listen.answers import Asking
from fewshot_cxr.whole_files import write_bytes

SUCCESS, NO_ROOM, NOT_ITS_CLASS, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000


def until(is_true, seconds=60):
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_bank_answers_each_film_with_one_page_in_its_study(tmp_path):
    place = laid_bank(tmp_path / "bank")
    films = []
    for number, film in enumerate(list(place.known)[:3]):
        pixels = read_gray(place.films.root / film.path)
        films.append(
            film_to_send(number, sop_class=(CR, DX)[number % 2], Rows=48, Columns=48, PixelData=pixels.tobytes())
        )
    with listening(tmp_path / "pages", place.bank, asking=Asking(batch_size=2, device="cpu")) as listener:
        assert send(listener.port, films) == [SUCCESS] * 3
        listener.drain()
    pages = pages_in(tmp_path / "pages")
    sources = [one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in pages]
    assert sorted(sources) == [film.SOPInstanceUID for film in films]
    for page in pages:
        assert (page.SOPClassUID, page.StudyInstanceUID, page.Modality) == (SECONDARY_CAPTURE, STUDY, "OT")
        assert (page.PatientName, page.PatientID, page.AccessionNumber) == ("DOE^JANE", "MRN-4711", "ACC-4711")
        assert page.BurnedInAnnotation == "YES"
        assert page.pixel_array.shape == (page.Rows, page.Columns)
    assert len({page.SeriesInstanceUID for page in pages} | {page.SOPInstanceUID for page in pages}) == 6
    assert listener.tally.to_json()["n_delivered"] == 3


def test_four_associations_at_once_one_broken_midway(tmp_path):
    with listening(tmp_path) as listener:
        statuses = {}

        def send_ten(first):
            statuses[first] = send(listener.port, [film_to_send(first + number) for number in range(10)])

        threads = [threading.Thread(target=send_ten, args=(first,)) for first in (0, 10, 20)]
        for thread in threads:
            thread.start()
        broken = associated(listener.port)
        assert broken.send_c_store(film_to_send(99)).Status == SUCCESS
        broken.dul.socket.send(b"\x04\0\0\0\x10\0")  # P-DATA of 4,096 bytes, of which none come
        broken.dul.socket.close()
        for thread in threads:
            thread.join()
        listener.drain()
    assert [status for one in statuses.values() for status in one] == [SUCCESS] * 30
    assert len(pages_in(tmp_path)) == 31
    assert listener.tally.to_json()["n_abstained"] == 15


def test_an_echo_is_answered_and_other_classes_are_not_taken(tmp_path):
    ct = "1.2.840.10008.5.1.4.1.1.2"
    with listening(tmp_path) as listener:
        association = associated(listener.port, classes=(ECHO, ct, CR))
        assert association.send_c_echo().Status == SUCCESS
        assert {one.abstract_syntax for one in association.accepted_contexts} == {ECHO, CR}
        association.release()
        assert not associated(listener.port, classes=(ct,)).is_established
        until(lambda: any("offers nothing that is taken" in line for line in listener.lines))


def test_only_those_who_may_call_are_let_in(tmp_path):
    port = Port(port=0, title="BANK", callers=("SCANNER",))
    with listening(tmp_path, port=port) as listener:
        assert not associated(listener.port, title="BANK", own="DOE^JANE").is_established
        assert not associated(listener.port, title="OTHER", own="SCANNER").is_established
        association = associated(listener.port, title="BANK", own="SCANNER")
        assert association.is_established
        association.release()
        until(lambda: sum("refused" in line for line in listener.lines) == 2)
        assert not any("JANE" in line for line in listener.lines)


REFUSED = {
    "several frames": (film_to_send(NumberOfFrames=3), NOT_ITS_CLASS, "holds 3 frames"),
    "no study": (film_to_send(StudyInstanceUID=None), NOT_ITS_CLASS, "its StudyInstanceUID is missing"),
    "a name for a study": (film_to_send(StudyInstanceUID="DOE^JANE"), NOT_ITS_CLASS, "its StudyInstanceUID is"),
    "no picture": (film_to_send(Rows=None), NOT_ITS_CLASS, "without a picture"),
    "a number without end": (film_to_send(PatientID="4711" * 999), NOT_ITS_CLASS, "its PatientID is longer than any"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_single_film_is_refused(tmp_path, case):
    film, status, words = REFUSED[case]
    with listening(tmp_path) as listener:
        assert listener._intake.take(content_of(film), CR) == status
        listener.drain()
    assert any(words in line for line in listener.lines)
    assert not any(secret in line for line in listener.lines for secret in SECRETS)
    assert not list(tmp_path.iterdir())


def test_damage_and_another_class_than_announced_are_refused(tmp_path):
    with listening(tmp_path) as listener:
        assert listener._intake.take(b"JANE" * 99, CR) == NOT_ITS_CLASS
        deflated = content_of(film_to_send(syntax=DeflatedExplicitVRLittleEndian))
        assert listener._intake.take(deflated[:-99], CR) == NOT_UNDERSTOOD
        assert listener._intake.take(content_of(film_to_send()), DX) == NOT_ITS_CLASS
    assert not any("JANE" in line for line in listener.lines)


def test_a_film_whose_pixels_cannot_be_read_has_a_page_without_it(tmp_path):
    place = laid_bank(tmp_path / "bank")
    with listening(tmp_path / "pages", place.bank, asking=Asking(device="cpu")) as listener:
        assert (
            send(listener.port, [film_to_send(PixelData=b"\0" * 64), film_to_send(1, Modality="MR")]) == [SUCCESS] * 2
        )
        listener.drain()
    assert len(pages_in(tmp_path / "pages")) == 2
    assert listener.tally.to_json()["reasons"] == {"unreadable": 2}


def test_more_films_than_may_wait_are_told_that_there_is_no_room(tmp_path):
    bank = PlainBank()
    bank.may_answer.clear()
    with listening(tmp_path, bank, most_waiting=3) as listener:
        films = [film_to_send(number) for number in range(5)]
        assert send(listener.port, films) == [SUCCESS] * 3 + [NO_ROOM] * 2
        bank.may_answer.set()
        until(lambda: not listener.n_waiting)
        assert send(listener.port, films[3:]) == [SUCCESS] * 2
        listener.drain()
        assert send(listener.port, films[:1]) == [NO_ROOM]
    assert len(pages_in(tmp_path)) == 5


def test_films_that_wait_lie_where_nobody_else_looks(tmp_path):
    bank = PlainBank()
    bank.may_answer.clear()
    with listening(tmp_path, bank) as listener:
        send(listener.port, [film_to_send()])
        folder = listener._intake._folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert not any(secret in file.name for file in folder.iterdir() for secret in SECRETS)
        bank.may_answer.set()
        listener.drain()
        assert not list(folder.iterdir())
    assert not folder.exists()


def test_pages_are_sent_to_another_node_and_a_broken_one_is_tried_again(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    destination = parse_destination(f"RESEARCH@127.0.0.1:{port}", own_title="FSCXR")
    with listening(tmp_path, destination=destination) as listener:
        assert "cannot be reached" in listener.lines[0]
        assert send(listener.port, [film_to_send(), film_to_send(1)]) == [SUCCESS] * 2
        until(lambda: any("trying again" in line for line in listener.lines))
        with storing_node(port) as (_, kept):
            until(lambda: len(kept) == 2)
            listener.drain()
    assert {page.StudyInstanceUID for page in kept} == {STUDY}
    assert listener.tally.to_json()["n_lost"] == 0


@pytest.mark.parametrize(("status", "classes"), [(0xC001, (SECONDARY_CAPTURE,)), (0x0000, (CR,))])
def test_a_node_that_refuses_a_page_for_good_is_not_asked_again(tmp_path, status, classes):
    with storing_node(status=status, classes=classes) as (port, _):
        destination = parse_destination(f"RESEARCH@127.0.0.1:{port}", own_title="FSCXR")
        with listening(tmp_path, destination=destination) as listener:
            send(listener.port, [film_to_send()])
            listener.drain()
    assert listener.tally.to_json()["n_lost"] == 1
    assert any("lost: the destination" in line for line in listener.lines)


def test_a_full_disk_is_tried_again_and_leaves_no_half_page(tmp_path, monkeypatch):
    whole = write_bytes
    n_failures = iter(range(99))

    def write(file, content):
        if next(n_failures) < 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        whole(file, content)

    monkeypatch.setattr("fewshot_cxr.listen.destinations.write_bytes", write)
    with listening(tmp_path) as listener:
        send(listener.port, [film_to_send()])
        listener.drain()
    assert any("No space left on device; trying again" in line for line in listener.lines)
    assert len(pages_in(tmp_path)) == 1


def test_a_full_disk_for_arriving_films_refuses_them(tmp_path, monkeypatch):
    with listening(tmp_path) as listener:
        monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        assert listener._intake.take(content_of(film_to_send()), CR) == NO_ROOM
        monkeypatch.undo()
        assert send(listener.port, [film_to_send()]) == [SUCCESS]
        listener.drain()
    assert len(pages_in(tmp_path)) == 1


def test_a_film_that_nobody_foresaw_costs_itself_alone(tmp_path):
    class Failing(PlainBank):
        first = None

        def answers(self, files, **_):
            for file, answer in zip(files, super().answers(files), strict=True):
                self.first = self.first or file
                if file == self.first:
                    raise RuntimeError("JANE")
                yield answer

    bank = Failing()
    bank.may_answer.clear()
    with listening(tmp_path, bank, asking=Asking(batch_size=3)) as listener:
        send(listener.port, [film_to_send(number) for number in range(7)])
        bank.may_answer.set()
        listener.drain()
    (lost,) = [line for line in listener.lines if "lost" in line]
    assert lost.endswith("lost: an unforeseen RuntimeError")
    assert len(pages_in(tmp_path)) == 6
    assert (listener.tally.to_json()["n_delivered"], listener.tally.to_json()["n_lost"]) == (6, 1)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_films_are_refused_or_answered_and_say_nothing(tmp_path, seed, capfd, recwarn):
    numbers, whole = np.random.default_rng(seed), content_of(film_to_send(seed))
    with listening(tmp_path, most_waiting=99) as listener:
        for _ in range(25):
            content = bytearray(whole)
            for place in numbers.integers(132, 1200, numbers.integers(1, 30)):
                content[place] = numbers.integers(256)
            listener._intake.take(bytes(content[: numbers.integers(400, len(content) + 1)]), CR)
        listener.drain()
    counts = listener.tally.to_json()
    assert counts["n_received"] + sum(counts["refused"].values()) == 25
    assert counts["n_delivered"] == counts["n_received"] == len(list(tmp_path.iterdir()))
    told = "\n".join([*listener.lines, *capfd.readouterr(), *(str(one.message) for one in recwarn), str(counts)])
    assert not [secret for secret in SECRETS if secret in told]


def test_real_headers_are_refused_or_answered(tmp_path, fscxr_data):
    files = sorted((fscxr_data / "layouts" / "dicom").glob("*.dcm"))
    assert files
    with listening(tmp_path) as listener:
        for file in files:
            content = file.read_bytes()
            with quiet:
                sop_class = str(dcmread(file, force=True, stop_before_pixels=True).get("SOPClassUID", ""))
            listener._intake.take(content, sop_class)
        listener.drain()
    counts = listener.tally.to_json()
    assert counts["n_received"] + sum(counts["refused"].values()) == len(files)
    assert counts["n_delivered"] == counts["n_received"] == len(pages_in(tmp_path))


def test_no_line_and_no_name_says_whose_a_film_is(tmp_path, capfd, caplog, recwarn):
    hostile = [
        film_to_send(1, SpecificCharacterSet="JANE"),
        film_to_send(2, PatientBirthDate="JANE", StudyDate="JANE", StudyTime="JANE", PatientSex="JANE"),
        film_to_send(3, PatientName="DOE^JANE=4711=4711=4711=4711", PatientAge="JANE"),
        film_to_send(4, PixelData=b"JANE"),
        film_to_send(5, BodyPartExamined="JANE", ViewPosition="JANE", SeriesDescription="JANE"),
        film_to_send(6, WindowCenter="1", WindowWidth="0", RescaleSlope="0", RescaleIntercept="4711"),
    ]
    with caplog.at_level(0), listening(tmp_path) as listener:
        assert send(listener.port, hostile) == [SUCCESS] * len(hostile)
        listener.drain()
    spoken = [str(one.message) for one in recwarn]
    told = "\n".join([*listener.lines, *capfd.readouterr(), *spoken, str(listener.tally.to_json())])
    names = "\n".join(file.name for file in tmp_path.iterdir())
    assert not [secret for secret in SECRETS if secret in told + names]
    assert len(pages_in(tmp_path)) == len(hostile)


def test_what_arrives_without_end_is_broken_off(tmp_path, monkeypatch):
    monkeypatch.setattr("fewshot_cxr.listen.receiver.MOST_FILM_BYTES", 20_000)
    large = film_to_send(Rows=400, Columns=400, PixelData=np.zeros(160_000, dtype=np.uint8).tobytes())
    with listening(tmp_path) as listener:
        assert send(listener.port, [film_to_send()]) == [SUCCESS]
        assert send(listener.port, [large]) == [None]
        assert send(listener.port, [film_to_send(1)]) == [SUCCESS]
        listener.drain()
    assert any("MB at once: broken off" in line for line in listener.lines)
    assert len(pages_in(tmp_path)) == 2


def test_what_is_silenced_speaks_again_afterwards(tmp_path):
    logs = [logging.getLogger(name) for name in ("pynetdicom", "highdicom", "pydicom")]
    before = [log.level for log in logs], threading.excepthook, list(warnings.filters)
    with listening(tmp_path) as listener:
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    assert "an unforeseen ZeroDivisionError ended a connection" in listener.lines
    assert before == ([log.level for log in logs], threading.excepthook, list(warnings.filters))


def test_peers_that_fall_silent_or_claim_gigabytes_hold_no_place(tmp_path):
    with listening(tmp_path, port=Port(port=0, seconds=1.5, n_associations=2)) as listener:
        place = ("127.0.0.1", listener.port)
        with socket.create_connection(place) as silent, socket.create_connection(place) as greedy:
            silent.sendall(b"\x01\0\0\0\x10\0half")
            greedy.sendall(b"\x01\0\xff\xff\xff\xff")
            until(lambda: any("claims a message of 4,295 MB" in line for line in listener.lines))
            until(lambda: not listener._receiver._entity.active_associations)
        assert send(listener.port, [film_to_send()]) == [SUCCESS]
        listener.drain()
    assert len(pages_in(tmp_path)) == 1


def test_a_look_at_the_port_takes_no_place_and_no_line(tmp_path):
    with listening(tmp_path, port=Port(port=0, seconds=1.0)) as listener:
        for _ in range(3):
            socket.create_connection(("127.0.0.1", listener.port)).close()
        until(lambda: not listener._receiver._entity.active_associations)
        assert not listener.lines


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"device": "nonsense"}, "device 'nonsense' is not one of"),
        ({"device": "cpu", "prevalence": {"covid": 0.02}}, "no finding of the bank is 'covid'"),
    ],
)
def test_what_the_bank_cannot_be_asked_is_refused_before_a_film_comes(tmp_path, how, message):
    bank = laid_bank(tmp_path / "bank").bank
    with pytest.raises(ValueError, match=message), listening(tmp_path / "pages", bank, asking=Asking(**how)):
        pass
