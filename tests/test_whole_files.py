"""Files are written whole or not at all, and links, modes, devices and full disks are respected."""

import errno
import json
import os
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from fewshot_cxr import whole_files
from fewshot_cxr.whole_files import check_writable, whole_file, write_bytes, write_json, write_text

posix = pytest.mark.skipif(os.name != "posix", reason="modes, FIFOs and devices of POSIX")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "x.json"
    write_json(target, {"old": 1})

    def fail_half_way():
        with whole_file(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, float("nan"))
    assert json.loads(target.read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o4755])
def test_a_file_keeps_its_mode_but_never_runs_as_somebody_else(tmp_path, mode):
    path = tmp_path / "x.json"
    path.write_text("old")
    path.chmod(mode)
    write_text(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode & 0o777)


@posix
def test_a_new_file_gets_the_rights_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new" / "x.json", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "x.json").stat().st_mode) == 0o640


@posix
def test_the_owner_stays_or_no_other_group_reads_the_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o640)
    monkeypatch.setattr(whole_files, "_status", lambda path: _as_if_owned(path.stat()))
    asked = []
    monkeypatch.setattr(os, "chown", lambda part, *ids: asked.append(ids))
    write_text(path, "new")
    assert (asked, stat.S_IMODE(path.stat().st_mode)) == ([(4711, 4712)], 0o640)
    monkeypatch.setattr(os, "chown", _refuse)
    write_text(path, "newer")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("newer", 0o600)


def _as_if_owned(found):
    return os.stat_result((*found[:4], 4711, 4712, *found[6:]))


def _refuse(*_):
    raise PermissionError(errno.EPERM, "not permitted")


@posix
def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x.json").write_text("old")
    for name, leads_to in {"link": "there/x.json", "to_link": "link", "dangling": "there/new/y.json"}.items():
        (tmp_path / name).symlink_to(leads_to)
        write_text(tmp_path / name, name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / leads_to).read_text() == name
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["new", "x.json"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round"):
        write_text(tmp_path / "round", "x")


@posix
def test_another_hard_link_keeps_the_old_content(tmp_path):
    (tmp_path / "x").write_text("old")
    os.link(tmp_path / "x", tmp_path / "y")
    write_text(tmp_path / "x", "new")
    assert ((tmp_path / "x").read_text(), (tmp_path / "y").read_text()) == ("new", "old")


@posix
def test_a_device_is_written_through(tmp_path):
    (tmp_path / "null").symlink_to(os.devnull)
    for path in (os.devnull, tmp_path / "null"):
        write_json(path, {"a": 1})
        assert stat.S_ISCHR(os.stat(path).st_mode)
    assert (tmp_path / "null").is_symlink()


@posix
def test_a_fifo_gets_the_content_and_stays_a_fifo(tmp_path):
    fifo, got = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    write_bytes(fifo, b"x" * 200_000)
    reader.join(timeout=10)
    assert got == [b"x" * 200_000]
    assert fifo.is_fifo()


@posix
def test_a_fifo_that_nobody_reads_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(whole_files, "_READER_SECONDS", 0.1)
    with pytest.raises(OSError, match="nobody reads from .*fifo: begin to read it, or name a file"):
        write_text(tmp_path / "fifo", "x")


@posix
def test_standard_output_is_written_into_under_any_name(capfd):
    print("before")
    write_text("/dev/stdout", "through\n")
    assert capfd.readouterr().out == "before\nthrough\n"


def test_a_folder_and_a_protected_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="is a folder: name a file"):
        write_text(tmp_path, "x")
    (tmp_path / "x").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root writes whatever the mode says
    with pytest.raises(PermissionError, match="x is protected from writing: name another file"):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"


def test_a_full_disk_names_the_file_and_how_much_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(whole_files.shutil, "disk_usage", lambda _: _Disk())
    monkeypatch.setattr(type(path), "write_bytes", _full)
    with pytest.raises(OSError, match=r"x.bin: no room on the disk: it needs 5 MB, 0.02 MB are free, 4.98 MB are m"):
        write_bytes(path, bytes(5_000_000))
    with pytest.raises(OSError, match=r"x.bin: no room on the disk: it needs more than the 1.2 MB that were written"):
        _write_like_torch(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.bin"]


class _Disk:
    free = 20_000


def _full(path, content):
    raise OSError(errno.ENOSPC, "No space left on device")


def _write_like_torch(path):
    with whole_file(path) as part, part.open("wb") as file:
        file.write(bytes(1_200_000))
        file.flush()
        raise RuntimeError("PytorchStreamWriter failed writing file")


def test_other_errors_stay_as_they_are(tmp_path):
    def fail():
        with whole_file(tmp_path / "x"):
            raise RuntimeError("not of the disk")

    with pytest.raises(RuntimeError, match="not of the disk"):
        fail()


@pytest.mark.parametrize("name", ["x" * 250, "é" * 120, "."])
def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path, name):
    path = tmp_path / name / "x" if name == "." else tmp_path / name
    with whole_file(path) as part:
        part.write_text("new")
        assert part.name.split(".")[-3] == str(os.getpid())
        assert part.parent == tmp_path
    assert path.read_text() == "new"


@posix
def test_a_place_is_checked_by_trying_which_leaves_nothing(tmp_path, monkeypatch):
    for path in (tmp_path / "new" / "deep" / "x", tmp_path / "x", "/dev/null"):
        check_writable(path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("mine")
    for path, why in {
        tmp_path: "is a folder",
        tmp_path / "file" / "x": "Not a directory",
        tmp_path / ("x" * 300): "File name too long",
        tmp_path / "new" / ("x" * 300): "File name too long",
        tmp_path / ("x" * 300) / "x": "File name too long",
    }.items():
        with pytest.raises(OSError, match=why):
            check_writable(path)
    for code in (errno.EROFS, errno.EACCES):
        monkeypatch.setattr(whole_files.tempfile, "mkstemp", partial(_fail, code))
        with pytest.raises(OSError, match=os.strerror(code)):
            check_writable(tmp_path / "new" / "x")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@posix
def test_a_full_disk_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", partial(_fail, errno.ENOSPC))
    with pytest.raises(OSError, match=r"x: no room on the disk: it needs 0.0041 MB"):
        check_writable(tmp_path / "new" / "x")
    assert not list(tmp_path.iterdir())


def _fail(code, *_, **__):
    raise OSError(code, os.strerror(code))


@posix
def test_a_file_that_is_being_written_is_locked_and_a_whole_one_is_not(tmp_path):
    import fcntl  # POSIX alone has it

    with whole_file(tmp_path / "x") as part, part.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "x").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_name_that_is_no_utf_8_is_written_as_json_reads_it(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {name: [name, "caf\xe9"]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {name: [name, "caf\xe9"]}
    write_text(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_bytes() == b"caf\\udce9"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_device_that_takes_no_more_is_named():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_text("/dev/full", "x" * 9)
