"""Ctrl-C, SIGTERM and SIGHUP: one line and a code of their own while a command works, silence before."""

import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import run
from made_films import make_image_folder
from test_start_up import loaded_after

from fewshot_cxr.cli import app

ENDING = {name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.mark.parametrize("name", ENDING)
def test_a_signal_ends_a_command_with_its_own_code(name, monkeypatch, capsys):
    before = [signal.getsignal(number) for number in ENDING.values()]
    monkeypatch.setattr(app.fscxr, "main", lambda *_, **__: os.kill(os.getpid(), ENDING[name]) or time.sleep(5))
    assert run() == 128 + ENDING[name]
    assert capsys.readouterr().err == "fscxr: error: interrupted\n"
    assert [signal.getsignal(number) for number in ENDING.values()] == before


def test_a_signal_that_a_library_turns_into_its_own_error_is_still_one(monkeypatch, capsys):
    def turn(*_, **__):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt as error:
            raise TypeError("object type 'torch.storage.UntypedStorage'") from error

    monkeypatch.setattr(app.fscxr, "main", turn)
    assert run() == 143
    assert capsys.readouterr().err == "fscxr: error: interrupted\n"
    monkeypatch.undo()
    assert run("data", "read", "image_folder:absent", "--out", "absent.csv") == 2
    assert "absent" in capsys.readouterr().err


def test_what_nohup_ignores_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(app.fscxr, "main", lambda *_, **__: os.kill(os.getpid(), signal.SIGHUP))
        assert run() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.parametrize("module", ["fewshot_cxr.cli.app", "fewshot_cxr.cli.data", "fewshot_cxr.cli.data_read"])
def test_while_libraries_load_a_command_ends_in_silence(name, module):
    program = f"""
import os, sys
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), {int(ENDING[name])})
sys.meta_path.insert(0, Finder())
sys.argv = ["fscxr", "data", "read", "absent"]
from fewshot_cxr.cli import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + ENDING[name], "", "")


def test_a_terminal_that_goes_away_ends_a_command_with_its_code(tmp_path):
    pty = pytest.importorskip("pty")
    program = f"""
import sys, time
from pathlib import Path
from fewshot_cxr.cli import app
from fewshot_cxr.cli.console import progress_bars
def work(*_, **__):
    with progress_bars() as progress:
        progress("films", 1, 2)
        Path({str(tmp_path / "ready")!r}).touch()
        time.sleep(30)
app.fscxr.main = work
app.main()
"""
    terminal, side = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stdout=side, stderr=side) as process:
        os.close(side)
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 128 + signal.SIGHUP


def test_next_to_nothing_is_loaded_before_signals_are_answered():
    loaded = {name.partition(".")[0] for name in loaded_after("import fewshot_cxr.cli") - loaded_after("pass")}
    needed = {"fewshot_cxr", "lazy_loader", *loaded_after("import ast, signal")}  # which load others by the version
    assert loaded <= needed


@pytest.mark.slow
def test_a_training_that_is_terminated_leaves_whole_files_and_no_lock(tmp_path):
    films = make_image_folder(tmp_path / "films")
    out = tmp_path / "run"
    flags = f"--encoder resnet9 --encoder-option width=4 --image-size 32 --batch-size 4 --epochs 5000 --out {out}"
    words = ["fscxr", "train", "classifier", "--data", str(films), "--patient-pattern", r"(\d+)", *flags.split()]
    program = f"import sys; sys.argv = {words}; from fewshot_cxr.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        while not (out / "last.ckpt").exists() and process.poll() is None:
            time.sleep(0.05)
        process.terminate()
        said = process.communicate()[1]
    assert process.returncode == 143
    assert said.endswith("fscxr: error: interrupted; once it has written last.ckpt, it goes on with --resume\n")
    assert "Traceback" not in said
    assert not [*out.glob(".*")]
