"""The folder of what is kept from one command to the next: for its owner alone, wherever it can be."""

import os
import stat
import tempfile

import pytest

from fewshot_cxr._state import state_folder


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


def test_the_folder_is_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert state_folder() == tmp_path / "state" / "fewshot_cxr"
    assert mode(state_folder()) == 0o700
    state_folder().chmod(0o755)
    assert mode(state_folder()) == 0o700


@pytest.mark.parametrize("home", ["state", "/dev/null"])  # a relative one is none; in a device there is no folder
def test_without_a_home_it_lies_in_the_temp_folder(tmp_path, monkeypatch, home):
    monkeypatch.setenv("XDG_STATE_HOME", home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert state_folder().parent == tmp_path
    assert mode(state_folder()) == 0o700


def test_a_folder_that_another_laid_in_the_temp_folder_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name = state_folder().name
    (tmp_path / name).rmdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match=name):
        state_folder()
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    monkeypatch.setattr("fewshot_cxr._state._user", lambda: os.getuid() + 1)
    monkeypatch.setattr("fewshot_cxr._state._places", lambda: [tmp_path / name])
    with pytest.raises(PermissionError, match="link, or belongs to another"):
        state_folder()
