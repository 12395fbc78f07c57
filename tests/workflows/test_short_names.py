from pathlib import Path

from fewshot_cxr.workflows.run_files import short_names


def test_names_are_no_longer_than_what_tells_places_apart(tmp_path, monkeypatch):
    for name in ("a/run", "b/run", "c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "c" / "run.safetensors").touch()
    assert short_names([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert short_names([tmp_path / "a" / "run", tmp_path / "c"]) == ["run", "c"]
    assert short_names([tmp_path / "c" / "run.safetensors"]) == ["run"]
    assert short_names([tmp_path / "a" / "run"] * 2) == ["run", "run"]
    monkeypatch.chdir(tmp_path / "a" / "run")
    assert short_names([Path(), Path("../../b/run")]) == ["a/run", "b/run"]


def test_a_suffix_stays_where_it_alone_differs(tmp_path):
    for name in ("run.pt", "run.safetensors"):
        (tmp_path / name).touch()
    assert short_names([tmp_path / "run.pt", tmp_path / "run.safetensors"]) == ["run.pt", "run.safetensors"]


def test_nothing_has_no_names():
    assert short_names([]) == []
