import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from command_line import run
from PIL import Image

from fewshot_cxr.data import read_dataset, write_manifest
from fewshot_cxr.data.readers import manifest
from fewshot_cxr.records import Record, Records

KEY = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Each test is another user, who has kept nothing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "fewshot_cxr" / "roots"


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "a" / "films"
    folder.mkdir(parents=True)
    for name in ("x", "y"):
        Image.fromarray(np.full((8, 8), 99, dtype=np.uint8)).save(folder / f"{name}.png")
    return Records((Record("x.png", ("a",)), Record("y.png", ("b",))), folder)


def lead(path):
    return json.loads(path.read_text().splitlines()[0].removeprefix("# "))


def write(path, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {json.dumps(header)}\npath,label\nx.png,a\ny.png,b\n")
    return path


def another_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))


def test_films_below_are_named_by_a_path_that_moves_along(films, tmp_path, monkeypatch):
    write_manifest(films, tmp_path / "a" / "m.csv")
    assert lead(tmp_path / "a" / "m.csv")["root"] == "films"
    (tmp_path / "copy.csv").write_bytes((tmp_path / "a" / "m.csv").read_bytes())
    assert read_dataset("manifest", tmp_path / "copy.csv").films == films.films  # by the key, on this machine
    (tmp_path / "a").rename(tmp_path / "b")
    another_user(monkeypatch, tmp_path)
    assert read_dataset("manifest", tmp_path / "b" / "m.csv").films == films.films


def test_films_elsewhere_are_named_by_a_key_of_this_user_alone(films, state, tmp_path, monkeypatch):
    path = tmp_path / "run" / "m.csv"
    write_manifest(films, path)
    first = path.read_bytes()
    assert str(tmp_path).encode() not in first
    assert read_dataset("manifest", path).films == films.films
    write_manifest(films, path)
    assert path.read_bytes() == first
    assert [item.name for item in state.iterdir()] == [lead(path)["root_key"]]
    assert [item.stat().st_mode & 0o077 for item in (state, *state.iterdir())] == [0, 0]
    another_user(monkeypatch, tmp_path)
    with pytest.raises(ValueError, match=r"m.csv was written by another user or on another machine.*--root PATH \(`fs"):
        read_dataset("manifest", path)
    assert read_dataset("manifest", path, root=films.root).films == films.films


def test_a_key_is_drawn_anew_by_each_user_and_follows_from_no_path(films, tmp_path, monkeypatch):
    keys = set()
    for user in ("one", "two", "three"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / user))
        write_manifest(films, tmp_path / "run" / "m.csv")
        keys.add(lead(tmp_path / "run" / "m.csv")["root_key"])
    assert len(keys) == 3
    assert all(len(key) == 32 for key in keys)


def test_kept_paths_are_believed_where_they_were_kept(films, tmp_path, monkeypatch):
    path = tmp_path / "run" / "m.csv"
    write_manifest(films, path, keep_paths=True)
    assert lead(path)["root"] == str(films.root)
    older = write(tmp_path / "run" / "older.csv", root="../a/films")
    for file in (path, older):
        assert read_dataset("manifest", file).films == films.films
    another_user(monkeypatch, tmp_path)
    for file in (path, older):
        with pytest.raises(ValueError, match=r"names the root '.*a/films', which is neither below .* nor kept"):
            read_dataset("manifest", file)


@pytest.mark.parametrize(
    "root", ["/", "..", "sub/../..", "/etc", "link", 7, [], {"a": 1}, True, "a\0b", "x" * 5000, "~", "//", "\udcff/.."]
)
def test_a_root_that_a_manifest_claims_is_not_believed(films, tmp_path, root):
    write_manifest(Records(films.films, films.root), tmp_path / "run" / "m.csv")  # another root that is kept
    home = tmp_path / "mailed"
    home.mkdir()
    (home / "link").symlink_to(tmp_path / "a")
    for more in ({}, {"root_key": KEY}, {"root_key": "../../roots"}, {"root_key": 5}):
        with pytest.raises((ValueError, FileNotFoundError), match="m.csv") as caught:
            read_dataset("manifest", write(home / "m.csv", root=root, **more))
        assert "\n" not in str(caught.value)
        # What lies below the manifest is looked at, and is not there.
        is_below = root in ("~", "x" * 5000, "\udcff/..")
        assert ("is missing" if is_below and not more else "--root PATH") in str(caught.value) or is_below


def test_a_key_that_is_none_is_looked_for_nowhere(films, state, tmp_path):
    write_manifest(films, tmp_path / "run" / "m.csv")
    (state.parent / "secret").write_text(str(films.root))
    for key in ("../secret", "..", "", KEY, KEY.upper(), KEY + "\n", None, 5, ["a"], {}):
        if key is None:
            continue
        with pytest.raises(ValueError, match="m.csv was written by another user or on another machine"):
            read_dataset("manifest", write(tmp_path / "b" / "m.csv", root_key=key))


def test_two_at_once_lose_no_root_and_the_oldest_is_forgotten(films, state, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "_MOST_KEPT", 20)
    roots = [tmp_path / f"set {number}" for number in range(16)]

    def keep(root):
        return manifest.header_root(root, tmp_path / "run" / "m.csv")["root_key"]

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(keep, roots))
    assert {key: (state / key).read_text() for key in keys} == dict(zip(keys, map(str, roots), strict=True))
    os.utime(state / keys[3], (1, 1))
    new = [keep(tmp_path / f"more {number}") for number in range(5)]
    assert {item.name for item in state.iterdir()} == {*keys, *new} - {keys[3]}


def test_a_user_who_can_keep_nothing_is_told(films, tmp_path, monkeypatch):
    def refuse():
        raise PermissionError("nowhere")

    monkeypatch.setattr(manifest, "state_folder", refuse)
    with pytest.warns(UserWarning, match=r"m.csv: where its films lie is not kept \(nowhere\): read it with --root"):
        write_manifest(films, tmp_path / "run" / "m.csv")
    assert read_dataset("manifest", tmp_path / "run" / "m.csv", root=films.root).films == films.films
    write_manifest(films, tmp_path / "a" / "m.csv")  # it needs nothing kept
    assert read_dataset("manifest", tmp_path / "a" / "m.csv").films == films.films


def test_commands_name_no_folder_unless_asked(films, tmp_path, capsys):
    source = f"image_folder:{films.root}"
    for more, are_kept in ((), False), (("--keep-paths", "--overwrite"), True):
        for command in ("read", "split"):
            split = tmp_path / "made" / f"{command}.csv"
            assert run("data", command, source, "--finding", "x", "--out", split, *more) == 0
            assert (str(tmp_path) in split.read_text()) == are_kept
            assert lead(split)["read"] == [source if are_kept else "image_folder:films"]
            assert run("data", "read", split) == 0
    assert "error" not in capsys.readouterr().err
