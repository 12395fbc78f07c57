"""`fscxr listen`: what it prints, how it ends, and what it refuses before it listens."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from command_line import FSCXR, run
from made_banks import laid_bank
from made_listen import SECRETS, film_to_send, pages_in, send

from fewshot_cxr.listen.destinations import ToFolder, Undelivered

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = laid_bank(tmp_path_factory.mktemp("listen"))
    place.bank.save(place.folder / "clinic.bank")
    return place


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def when_it_listens(port, act):
    def work():
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        try:
            act()
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_ctrl_c_takes_no_more_films_and_answers_those_that_were_taken(place, tmp_path, capsys):
    port, out = free_port(), tmp_path / "pages"
    thread = when_it_listens(port, lambda: send(port, [film_to_send(number) for number in range(6)]))
    how = ("--port", port, "--out", out, "--device", "cpu", "--json", tmp_path / "counts.json")
    assert run("listen", place.folder / "clinic.bank", *how) == 0
    thread.join()
    told = capsys.readouterr()
    assert f"FSCXR listens on 127.0.0.1:{port}" in told.err
    assert "no more films are taken" in told.err
    assert "6 received" in told.err
    assert json.loads((tmp_path / "counts.json").read_text())["n_delivered"] == 6
    assert len(pages_in(out)) == 6
    kept = told.err + told.out + (tmp_path / "counts.json").read_text() + str(list(out.iterdir()))
    assert not [secret for secret in SECRETS if secret in kept.replace(str(port), "")]


@pytest.mark.slow
def test_it_runs_as_a_process_and_ends_well_by_sigterm(place, tmp_path):
    port = free_port()
    words = [
        "listen",
        str(place.folder / "clinic.bank"),
        "--port",
        str(port),
        "--out",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    with subprocess.Popen([*FSCXR, *words], stderr=subprocess.PIPE, text=True) as process:
        assert "listens on" in process.stderr.readline()
        assert send(port, [film_to_send()]) == [0]
        process.terminate()
        told = process.stderr.read()
        assert process.wait(20) == 0
    assert "1 received, " in told
    assert len(pages_in(tmp_path)) == 1


def test_exemplars_are_shown_where_that_is_asked_for_alone(place, tmp_path, capsys):
    pages = []
    for more in ((), ("--thumbnails",)):
        port, out = free_port(), tmp_path / str(len(pages))
        thread = when_it_listens(port, lambda port=port: send(port, [film_to_send()]))
        assert run("listen", place.folder / "clinic.bank", "--port", port, "--out", out, "--device", "cpu", *more) == 0
        thread.join()
        pages += pages_in(out)
    plain, shown = (page.pixel_array for page in pages)
    changed = np.argwhere(plain != shown)
    assert len(changed) > 1000
    assert changed[:, 1].min() >= 1024, "the film itself is the same"
    assert "warning: pages show exemplars" in capsys.readouterr().err


def test_thumbnails_take_a_bank_that_has_some(place, tmp_path, capsys):
    bare = replace(place.bank, table=replace(place.bank.table, thumbnails=None))
    bare.save(place.folder / "bare.bank")
    assert run("listen", place.folder / "bare.bank", "--out", tmp_path, "--thumbnails") == 2
    assert "keeps no thumbnails" in capsys.readouterr().err


def test_a_second_ctrl_c_leaves_what_waits(place, tmp_path, capsys, monkeypatch):
    port, asked = free_port(), threading.Event()

    def hang(self, made):
        asked.set()
        self._first.wait(30)
        return [Undelivered("gone")] * len(made)

    monkeypatch.setattr(ToFolder, "_first", threading.Event(), raising=False)
    monkeypatch.setattr(ToFolder, "deliver", hang)

    def act():
        send(port, [film_to_send(number) for number in range(3)])
        asked.wait(30)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        threading.Timer(1, ToFolder._first.set).start()

    thread = when_it_listens(port, act)
    out = tmp_path / "pages"
    words = ("--port", port, "--out", out, "--device", "cpu", "--batch-size", 1)
    assert run("listen", place.folder / "clinic.bank", *words) == 130
    thread.join()
    told = capsys.readouterr().err
    assert "it was not answered before the end" in told
    assert not list(out.iterdir())


def test_an_answer_that_is_lost_makes_the_code_1(place, tmp_path, capsys):
    port, gone = free_port(), free_port()
    thread = when_it_listens(port, lambda: send(port, [film_to_send()]))
    out = f"RESEARCH@127.0.0.1:{gone}"
    assert run("listen", place.folder / "clinic.bank", "--port", port, "--out", out, "--retry", 0) == 1
    thread.join()
    assert "lost: the destination cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--out", "A@127.0.0.1:99999"), 2, "names no port"),
        (("--out", "pages", "--port", "70000"), 2, "70000"),
        (("--out", "/proc/pages"), 1, "/proc/pages cannot be written: name another folder"),
        (("--out", "pages", "--ae-title", "A TITLE OF MORE THAN 16"), 2, "an AE title has 1 to 16"),
        (("--out", "pages", "--ae-title", "A\\B"), 2, "no backslash"),
    ],
)
def test_what_cannot_work_is_refused(place, tmp_path, monkeypatch, capsys, words, code, told):
    monkeypatch.chdir(tmp_path)
    assert run("listen", place.folder / "clinic.bank", *words) == code
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(place, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("listen", place.folder / "clinic.bank", "--port", port, "--out", tmp_path) == 1
    assert f"127.0.0.1:{port} cannot be listened on" in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_get_it(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    assert run("listen", place.folder / "clinic.bank", "--port", 0, "--out", tmp_path) == 1
    assert 'pip install "fewshot_cxr[listen]"' in capsys.readouterr().err
