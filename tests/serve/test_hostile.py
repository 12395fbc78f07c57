"""What may come over a wire: each has its status and one sentence, and costs nobody else an answer."""

import select
import socket
import tempfile
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from made_bombs import BOMBS
from made_dicom import content_of, dataset
from made_hostile import textured
from made_server import files_of, form, served

from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.serve.connections import Connection
from fewshot_cxr.serve.films import display_name
from fewshot_cxr.serve.keeper import BankKeeper
from fewshot_cxr.serve.settings import Limits

SMALL = Limits(n_films=3, film_bytes=1 << 20, request_bytes=3 << 20, upload_seconds=0.6, answer_seconds=20, n_waiting=3)


@pytest.fixture(scope="module")
def narrow(place, tmp_path_factory):
    """A server with small limits."""
    file = tmp_path_factory.mktemp("narrow") / "clinic.bank"
    place.bank.save(file, self_contained=True)
    with served(file, limits=SMALL) as running:
        yield running


def frames():
    return content_of(dataset(np.stack([textured(), textured(seed=1)]), NumberOfFrames=2))


NO_FILMS = {
    "empty.png": (lambda: b"", "the file is empty"),
    "notes.txt": (lambda: b"hello", "not a picture that can be read"),
    "page.html": (lambda: b"<script>alert(1)</script>", "not a picture that can be read"),
    "wide.png": (BOMBS["wide.png"], "the picture is too large to be a film"),
    "text.png": (BOMBS["text.png"], ""),
    "zip.dcm": (BOMBS["deflated_bomb.dcm"], ""),
    "wide.dcm": (BOMBS["wide.dcm"], ""),
    "frames.gif": (BOMBS["frames.gif"], "frames; a film is one"),
    "frames.dcm": (frames, "frames"),
}


@pytest.mark.parametrize("name", NO_FILMS)
def test_what_is_no_film(server, name):
    make, told = NO_FILMS[name]
    answered = server.post("/predict", [(name, make())])
    assert answered.status == 422
    assert answered.detail.startswith(f"{name}: ")
    assert told in answered.detail
    assert "\n" not in answered.detail
    assert "/" not in answered.detail.replace("and/or", "")


@pytest.mark.parametrize("name", ["empty.png", "wide.png", "frames.dcm"])
def test_what_is_no_film_is_not_added(server, name):
    before = server.get("/bank").json()["bank"]
    answered = server.post("/findings/new/films", [(name, NO_FILMS[name][0]())])
    assert (answered.status, answered.detail.partition(":")[0]) == (422, name)
    assert server.get("/bank").json()["bank"] == before


def test_it_costs_the_other_films_nothing(place, server):
    film = files_of(place.new, 1)[0]
    alone = server.post("/predict", [film]).json()["answers"][0]
    mixed = server.post("/predict", [("a.png", b""), film, ("b.dcm", frames())])
    assert mixed.status == 200
    assert [one["reason"] for one in mixed.json()["answers"]] == ["unreadable", alone["reason"], "unreadable"]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\films\\a.png", "a.png"),
        ("..", ".."),
        ("<script>alert(1)</script>.png", "script>.png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("a\u202eb.png", "a\\u202eb.png"),
        ("x" * 500 + ".png", "x" * 59 + "..." + "x" * 14 + ".png"),
    ],
)
def test_names_are_shown_and_nothing_else(place, server, sent, shown):
    content = files_of(place.new, 1)[0].read_bytes()
    answered = server.post("/predict", [(sent, content)])
    assert answered.status == 200
    assert answered.json()["answers"][0]["path"] == shown
    page = server.post("/", [(sent, content)], headers={"Accept": "text/html"}).body.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert display_name(sent) == shown


def test_a_gigabyte(narrow):
    answered = narrow.ask(
        "POST", "/predict", b"x", **{"Content-Type": "multipart/form-data", "Content-Length": str(1 << 30)}
    )
    assert (answered.status, answered.detail) == (413, "a request may have 3 MB, this one has more")


def test_a_gigabyte_whose_length_is_not_told(narrow):
    piece = f"{1 << 20:x}\r\n".encode() + bytes(1 << 20) + b"\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="films"; filename="a.png"\r\n\r\n'
    kind = "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=20) as opened:
        opened.sendall(f"POST /predict HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n\r\n".encode())
        opened.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        n_sent, found = 0, b""
        while not found and n_sent < 1 << 10:
            opened.sendall(piece)
            n_sent += 1
            found = received(opened)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert n_sent < 200


def received(opened):
    """Return what has come so far."""
    if not select.select([opened], [], [], 0.001)[0]:
        return b""
    return opened.recv(65536)


def test_a_film_that_is_too_large(narrow):
    answered = narrow.post("/predict", [("a.png", bytes((1 << 20) + 1))])
    assert (answered.status, answered.detail) == (413, "a.png: a film may have 1 MB, this one has more")


def test_too_many_films(narrow):
    answered = narrow.post("/predict", [("a.png", b"x")] * 4)
    assert (answered.status, answered.detail) == (413, "a request may hold 3 films and short texts beside them")


def test_no_form(narrow):
    answered = narrow.ask("POST", "/predict", b"{}", **{"Content-Type": "application/json"})
    assert answered.status == 415
    assert answered.detail.startswith("send films as multipart/form-data")
    broken = narrow.ask("POST", "/predict", b"junk", **{"Content-Type": "multipart/form-data; boundary=x"})
    assert broken.status == 400
    assert narrow.ask("POST", "/predict", b"junk", **{"Content-Type": "multipart/form-data"}).status == 400


def begun(port, n_sent, films):
    """Send the first bytes of a request, and return the socket."""
    body, kind = form(films)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    opened = socket.create_connection(("127.0.0.1", port), timeout=20)
    opened.sendall(head.encode() + body[: len(body) if n_sent is None else n_sent])
    return opened


def rest(opened):
    with opened:
        found = b""
        while part := opened.recv(65536):
            found += part
    return found


def test_a_slow_client(place, narrow):
    begin = time.monotonic()
    answered = rest(begun(narrow.port, 100, files_of(place.new, 1)))
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b'{"detail":"the request did not come whole within 0.6 seconds"}' in answered
    assert time.monotonic() - begin < 10


def test_a_client_that_never_asks(narrow, monkeypatch):
    monkeypatch.setattr(Connection, "head_seconds", 0.3)
    for sent in (b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: loc"):
        opened = socket.create_connection(("127.0.0.1", narrow.port), timeout=20)
        opened.sendall(sent)
        answered = rest(opened)
        assert answered.startswith(b"HTTP/1.1 408 ")
        assert b"no whole request came within 0.3 seconds" in answered


def test_a_half_closed_connection(place, narrow):
    opened = begun(narrow.port, None, files_of(place.new, 1))
    opened.shutdown(socket.SHUT_WR)  # all is sent, and the answer waited for
    answered = rest(opened)
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert b'"answers"' in answered
    opened = begun(narrow.port, 300, files_of(place.new, 1))
    opened.shutdown(socket.SHUT_WR)
    answered = rest(opened)
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert b'{"detail":"the connection ended before the request was whole"}' in answered


def test_a_client_that_is_gone(place, narrow, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for n_sent in (10, 300, None):
        begun(narrow.port, n_sent, files_of(place.new, 1)).close()
    assert narrow.post("/predict", files_of(place.new, 1)).status == 200
    end = time.monotonic() + 10
    while list(tmp_path.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("sent", [b"junk\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\0" * 70_000])
def test_what_is_no_http(narrow, sent):
    opened = socket.create_connection(("127.0.0.1", narrow.port), timeout=20)
    opened.sendall(sent)
    opened.shutdown(socket.SHUT_WR)
    assert rest(opened)[:10] in (b"HTTP/1.1 4", b"")
    assert narrow.get("/health").status == 200


@contextmanager
def held(monkeypatch):
    """Let the thread that answers wait while the block lasts."""
    begun, go_on, answers = threading.Event(), threading.Event(), BankKeeper.answers

    def wait(self, films, question):
        begun.set()
        assert go_on.wait(30)
        return answers(self, films, question)

    monkeypatch.setattr(BankKeeper, "answers", wait)
    try:
        yield begun, go_on
    finally:
        go_on.set()


def test_too_many_wait(place, bank_file, monkeypatch):
    with held(monkeypatch) as (begun, go_on), served(bank_file, limits=SMALL) as server:
        film, found = files_of(place.new, 1), []
        threads = [threading.Thread(target=lambda: found.append(server.post("/predict", film).status))]
        threads[0].start()
        assert begun.wait(20)
        threads += [
            threading.Thread(target=lambda: found.append(server.post("/predict", film).status)) for _ in range(3)
        ]
        for thread in threads[1:]:
            thread.start()
        end = time.monotonic() + 20
        while server.get("/health").json()["waiting"] < 3:
            assert time.monotonic() < end
        refused = server.post("/predict", film)
        assert (refused.status, refused.headers["retry-after"]) == (429, "2")
        assert refused.detail == "3 films wait already, of 3 that may: come again"
        go_on.set()
        for thread in threads:
            thread.join()
        assert found == [200] * 4


def test_an_answer_that_takes_too_long(place, bank_file, monkeypatch):
    limits = Limits(answer_seconds=0.3)
    with held(monkeypatch) as (_, go_on), served(bank_file, limits=limits) as server:
        late = server.post("/predict", files_of(place.new, 1))
        assert (late.status, late.detail) == (503, "the answer took too long: come again, with fewer films")
        go_on.set()
    with served(bank_file) as server:
        assert server.post("/predict", files_of(place.new, 1)).status == 200


def test_what_waits_is_answered_before_the_end(place, bank_file, monkeypatch):
    found = []
    with held(monkeypatch) as (begun, go_on):
        with served(bank_file) as server:
            film = files_of(place.new, 1)
            threads = [
                threading.Thread(target=lambda: found.append(server.post("/predict", film).status)) for _ in range(3)
            ]
            threads[0].start()
            assert begun.wait(20)
            for thread in threads[1:]:
                thread.start()
            end = time.monotonic() + 20
            while server.get("/health").json()["waiting"] < 2:
                assert time.monotonic() < end
            threading.Timer(0.5, go_on.set).start()
        for thread in threads:
            thread.join()
    assert found == [200] * 3
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_a_full_disk(place, bank_file, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device", str(bank_file))

    with served(bank_file) as server:
        monkeypatch.setattr(SupportBank, "save", fail)
        answered = server.post("/findings/new/films", files_of(place.new, 1))
        assert (answered.status, answered.detail) == (503, "the server cannot write or read (No space left on device)")
        assert server.post("/predict", files_of(place.new, 1)).json()["bank"] == place.bank.content_hash


def test_a_part_with_many_headers(server):
    head = b'--x\r\nContent-Disposition: form-data; name="films"; filename="a.png"\r\n' + b"A: b\r\n" * 200_000
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    begin = time.monotonic()
    assert server.ask("POST", "/predict", head + b"\r\nx\r\n--x--\r\n", **kind).status == 400
    assert time.monotonic() - begin < 10


def test_an_error_that_nobody_foresaw(place, bank_file, monkeypatch):
    def fail(self):
        raise MemoryError("no more")

    with served(bank_file) as server:
        monkeypatch.setattr(BankKeeper, "refresh", fail)
        answered = server.get("/bank")
        assert answered.status == 500
        assert answered.detail == "an unforeseen error, which the log of the server tells more of"


def test_numbers_of_thousands_of_digits(place, server):
    asked = server.post("/predict", files_of(place.known, 1), texts={"n_nearest": "9" * 5000})
    assert (asked.status, asked.detail[:24]) == (422, "n_nearest must be in 1..")
    assert server.post("/undo", texts={"number": "9" * 5000}).status == 422
