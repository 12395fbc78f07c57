"""`fscxr serve` as a process: it says where it is, several processes answer from one file, a signal ends it."""

import re
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from command_line import FSCXR, run
from made_banks import NEW
from made_server import RunningServer, files_of

from fewshot_cxr.inference.bank import SupportBank


@contextmanager
def command(bank, *flags):
    """Yield the process of the command, and its server."""
    words = [*FSCXR, "serve", str(bank), "--port", "0", "--device", "cpu", *flags]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if found := re.search(r"is served at http://127\.0\.0\.1:(\d+)/", line):
                break
        server = RunningServer(int(found[1]), None)
        end = time.monotonic() + 120
        while True:
            try:
                assert server.get("/health").status == 200
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.05)
        yield process, server
    finally:
        process.terminate()  # killed, it would leave its workers
        process.wait(60)
        process.stderr.close()


@pytest.mark.slow
def test_a_signal_ends_it(place, bank_file):
    with command(bank_file) as (process, server):
        assert server.post("/predict", files_of(place.new, 1)).status == 200
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(30) == 0
        assert said.splitlines()[-1] == "ended"


@pytest.mark.slow
def test_several_processes_serve_one_bank(place, bank_file):
    with command(bank_file, "--workers", "2") as (process, server):
        added = server.post(f"/findings/{NEW}/films", files_of(place.new, 3)).json()["bank"]
        assert SupportBank.load(bank_file).content_hash == added
        told = [server.post("/predict", files_of(place.known, 1)).json() for _ in range(20)]
        assert {one["bank"] for one in told} == {added}
        assert all(NEW in one["answers"][0]["distances"] for one in told)
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read().splitlines()[-1] == "ended"
        assert process.wait(30) == 0


def test_what_cannot_be_served(bank_file, tmp_path, capsys):
    (tmp_path / "no.bank").write_bytes(b"junk")
    assert run("serve", tmp_path / "no.bank", "--port", "0") != 0
    assert "error:" in capsys.readouterr().err
    assert run("serve", tmp_path / "absent.bank") == 2
    assert run("serve", bank_file, "--host", "203.0.113.7", "--token-file", token_file(tmp_path)) == 1
    assert "203.0.113.7:8000 cannot be listened on" in capsys.readouterr().err


def token_file(folder):
    file = folder / "token.txt"
    file.write_text("a-long-enough-random-token\n")
    return file
