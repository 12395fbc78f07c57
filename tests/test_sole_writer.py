"""One writer at a time in a run folder, however many begin together and however the last one ended."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from made_runs import make_films, start_process, train_run

from fewshot_cxr import _sole_writer, whole_files
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.whole_files import check_writable, sweep_parts, whole_file

pytest.importorskip("fcntl", reason="locks of POSIX")
HELD = """
import sys, time
from pathlib import Path
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.whole_files import whole_file
with only_writer(Path(sys.argv[1])), whole_file(Path(sys.argv[1]) / "card.json") as part:
    print("ready", flush=True)
    time.sleep(60)
"""


def holder(folder):
    """A process that writes a file of a folder, until it is ended."""
    process = subprocess.Popen([sys.executable, "-c", HELD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_writer_is_refused_with_the_pid_of_the_first_and_a_killed_one_is_succeeded(tmp_path):
    folder = tmp_path / "run"
    with holder(folder) as process:
        with (
            pytest.raises(
                BlockingIOError, match=rf"{folder} is being written by process {process.pid} on .* since \d{{4}}-"
            ),
            only_writer(folder),
        ):
            pass
        sweep_parts(folder)
        assert len([*folder.glob(".card.json.*.part")]) == 1  # it is in use
        process.send_signal(signal.SIGKILL)
    with contextlib.ExitStack() as lock:
        with pytest.warns(UserWarning, match=f"of process {process.pid} on .*, which was killed, or"):
            lock.enter_context(only_writer(folder))
        assert [file.name for file in folder.iterdir()] == [".fscxr.lock"]
        with only_writer(folder / "."):  # in the same thread it is one writer
            pass
        assert json.loads((folder / ".fscxr.lock").read_text())["pid"] == os.getpid()
    assert not [*folder.iterdir()]
    with only_writer(folder):
        pass


def test_an_error_gives_the_folder_back(tmp_path):
    for _ in range(2):
        with pytest.raises(OSError, match="no room"), only_writer(tmp_path):
            raise OSError("no room")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 1000, b'{"pid": 1}', b"null"])
def test_a_lock_that_says_nothing_is_taken(tmp_path, content):
    (tmp_path / ".fscxr.lock").write_bytes(content)
    with only_writer(tmp_path):
        assert json.loads((tmp_path / ".fscxr.lock").read_text())["pid"] == os.getpid()


def test_a_folder_that_was_made_in_vain_goes_again(tmp_path):
    for name in ("made", "there"):
        (tmp_path / "there").mkdir(exist_ok=True)
        with only_writer(tmp_path / name):
            pass
    assert [folder.name for folder in tmp_path.iterdir()] == ["there"]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "film.png").write_text("kept")
    (tmp_path / ".fscxr.lock").symlink_to(tmp_path / "film.png")
    with pytest.raises(OSError, match=r"\.fscxr\.lock"), only_writer(tmp_path):
        pass
    assert (tmp_path / "film.png").read_text() == "kept"


def test_where_there_are_no_locks_nobody_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_files, "fcntl", None)
    with only_writer(tmp_path / "run"):
        assert not [*(tmp_path / "run").iterdir()]
        (tmp_path / "run" / "card.json").touch()
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["card.json"]


def test_the_next_writer_of_a_file_sweeps_what_a_killed_one_left(tmp_path):
    names = [".clinic.bank.123.abcdefgh.part", ".other.bank.123.abcdefgh.part"]
    for name in names:
        (tmp_path / name).touch()
    with only_writer(tmp_path / "clinic.bank", is_folder=False):
        assert not (tmp_path / names[0]).exists()
    assert (tmp_path / names[1]).exists()


def test_a_place_without_rights_is_named_and_not_its_lock(tmp_path, monkeypatch):
    def refused(path, *arguments):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(_sole_writer.os, "open", refused)
    with (
        pytest.raises(PermissionError, match=f"Permission denied to write there: '{tmp_path}/clinic.bank'"),
        only_writer(tmp_path / "clinic.bank", is_folder=False),
    ):
        pytest.fail("nobody may write there")


def test_two_files_of_one_folder_are_two_places(tmp_path):
    with only_writer(tmp_path / "a.csv", is_folder=False), only_writer(tmp_path / "b.csv", is_folder=False):
        refused = []

        def write():
            try:
                with only_writer(tmp_path / "a.csv", is_folder=False):
                    pass
            except BlockingIOError as error:
                refused.append(str(error))

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert f"{tmp_path / 'a.csv'} is being written by process {os.getpid()}" in refused[0]


def test_what_is_written_through_has_no_lock(tmp_path):
    (tmp_path / "link.csv").symlink_to(os.devnull)
    with only_writer(tmp_path / "link.csv", is_folder=False):
        assert [file.name for file in tmp_path.iterdir()] == ["link.csv"]


def test_of_many_threads_one_writes_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(_sole_writer, "_WRITTEN_WITHIN", 0.02)
    inside, most, written = [], [], []

    def write():
        for _ in range(20):
            try:
                with only_writer(tmp_path / "run"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    written.append(1)
            except BlockingIOError:
                pass

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(written) >= 20
    assert not [*(tmp_path / "run").iterdir()]


def test_a_folder_that_another_removes_while_it_is_made_is_made_anew(tmp_path, monkeypatch):
    make, asked = os.mkdir, []

    def mkdir(path, *rest):
        asked.append(path)
        if len(asked) == 1:  # it was there when asked, and is not when looked at
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        make(path, *rest)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with only_writer(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert len(asked) == 2


def test_a_folder_is_not_made_where_a_file_is(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(FileExistsError, match="run"), only_writer(tmp_path / "run"):
        pass
    assert (tmp_path / "run").read_text() == "mine"


def test_the_part_of_a_file_survives_any_sweeping(tmp_path):
    is_done = threading.Event()

    def sweep():
        while not is_done.is_set():
            sweep_parts(tmp_path)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for number in range(100):
            with whole_file(tmp_path / "a.txt") as part:
                part.write_text(str(number))
            assert (tmp_path / "a.txt").read_text() == str(number)
    finally:
        is_done.set()
        thread.join()


@pytest.mark.slow
def test_of_two_trainings_started_together_one_alone_writes(tmp_path):
    films = make_films(tmp_path / "films", n_patients=6)
    for number in range(3):
        out = tmp_path / f"run{number}"
        runs = [start_process(train_run, films, out, "classifier", {"seed": seed}) for seed in (1, 2)]
        for one in runs:
            one.join()
        assert sorted(one.exitcode for one in runs) == [0, 1]
        seed = 1 if runs[0].exitcode == 0 else 2
        assert json.loads((out / "card.json").read_text())["training"]["seed"] == seed
        assert not [*Path(out).glob(".*")]


def test_the_check_of_an_output_sweeps_what_was_to_become_it_and_nothing_else(tmp_path):
    for name in (".a[1].csv.17.abcdefgh.part", ".b.csv.17.abcdefgh.part", ".a[1].csv.part"):
        (tmp_path / name).touch()
    check_writable(tmp_path / "a[1].csv")
    assert {file.name for file in tmp_path.iterdir()} == {".b.csv.17.abcdefgh.part", ".a[1].csv.part"}
