"""Films in shards: each row once, the results of one go, going on after a stop, and what befalls films meanwhile."""

import csv
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run
from made_banks import laid_bank

from fewshot_cxr import Embeddings, engines
from fewshot_cxr.data import write_manifest
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.engines import decoded
from fewshot_cxr.engines.merge import shards_of
from fewshot_cxr.engines.shard import commit_shard

ROWS = 19


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Films in a manifest, an encoder and a bank."""
    place = laid_bank(tmp_path_factory.mktemp("sharded"))
    place.file, place.table = place.folder / "clinic.bank", place.films.root / "films.csv"
    place.bank.save(place.file)
    write_manifest(place.films, place.table)
    return place


def embedding(place):
    return engines.Embedding(load_encoder(place.run))


def plan_of(place, folder, work=None, table=None, **how):
    work = work or embedding(place)
    scanned = engines.scan_table(str(table or place.table), how.pop("rows_per_shard", ROWS))
    kept = {"kind": work.kind, "spec": work.spec, "decides": work.decides(), "looks_at_pixels": work.looks_at_pixels}
    return engines.Plan(table=scanned, folder=str(folder), batch_size=4, **kept, **how).begun()


def ids_of(plan):
    return [row for shard in shards_of(plan) for row in shard.rows.tolist()]


def contents(folder):
    return {file.name: file.read_bytes() for file in Path(folder).glob("*.safetensors")}


def test_shards_merge_into_what_one_go_finds(place, tmp_path, capsys):
    one_go, merged, plain = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "b.npy"
    asked = ("embed", "--checkpoint", place.run, "--data", place.table, "--device", "cpu")
    assert run(*asked, "--out", one_go) == 0
    shards = ("--shards", tmp_path / "shards", "--rows-per-shard", ROWS)
    assert run(*asked, *shards, "--out", merged) == 0
    assert "8 shards, 144 rows, 0 of them unreadable" in capsys.readouterr().err
    assert run(*asked, *shards, "--out", plain) == 0
    assert "8 of 8 shards are there; going on" in capsys.readouterr().err
    expected, found = Embeddings.load(one_go), Embeddings.load(merged)
    np.testing.assert_allclose(found.vectors, expected.vectors, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(np.load(plain), found.vectors)
    for name in ("paths", "sources", "class_names", "distance"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("class_ids", "patient_ids", "has_patient"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert run(*asked, "--shards", tmp_path / "shards", "--rows-per-shard", ROWS + 1) == 2
    assert "holds shards of another --rows-per-shard: ask as then, or name another folder" in capsys.readouterr().err
    assert run(*asked, "--engine", "ray") == 2
    for findings in ("normal", "common"):
        assert run(*asked, *shards, "--findings", findings) == 2
        assert "--findings looks at all films at once: `fscxr data read` writes a table" in capsys.readouterr().err


def test_answers_of_shards_are_those_of_one_go(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place.films.root)
    asked = ("--bank", place.file, "--checkpoint", place.run, "--device", "cpu", "--batch-size", ROWS)
    assert run("predict", *(film.path for film in place.films), *asked, "--csv", tmp_path / "a.csv") == 0
    shards = ("--shards", tmp_path / "shards", "--rows-per-shard", ROWS)
    assert run("predict", "films.csv", *asked, *shards, "--csv", tmp_path / "b.csv") == 0
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert run("predict", "films.csv", *asked, *shards, "--per", "patient") == 2
    assert "writes --csv: leave out the other outputs" in capsys.readouterr().err


def test_a_run_goes_on_with_what_is_missing_and_makes_the_same_bytes(place, tmp_path, monkeypatch):
    whole, stopped = plan_of(place, tmp_path / "whole"), plan_of(place, tmp_path / "stopped")
    engines.run_here(whole, embedding(place), whole.missing(), device="cpu", n_workers=1)

    def ends(*given):
        if given[2] == 3:
            raise KeyboardInterrupt
        return commit_shard(*given)

    with monkeypatch.context() as patch:
        patch.setattr("fewshot_cxr.engines.here.commit_shard", ends)
        with pytest.raises(KeyboardInterrupt):
            engines.run_here(stopped, embedding(place), stopped.missing(), device="cpu")
    assert stopped.missing() == [3, 4, 5, 6, 7]
    (left := Path(stopped.folder) / ".embed-000003.safe.1.killed00.part").touch()  # as by a signal that is not caught
    assert stopped.begun() == stopped
    assert not left.exists()
    with pytest.raises(FileNotFoundError, match="is not there: run this again, which goes on"):
        engines.summarise(stopped)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        engines.run_here(stopped, embedding(place), stopped.missing()[::-1], device="cpu", n_workers=3)
    finally:
        torch.set_num_threads(threads)
    assert contents(stopped.folder) == contents(whole.folder)
    assert ids_of(whole) == list(range(len(place.films)))


def test_another_network_of_the_same_weights_does_not_go_on(place, tmp_path):
    plan_of(place, tmp_path)
    encoder = load_encoder(place.run)
    encoder.recipe = {**encoder.recipe, "options": {**encoder.recipe["options"], "stem_pool": 1}}
    with pytest.raises(ValueError, match="holds shards of another encoder's options: ask as then"):
        plan_of(place, tmp_path, engines.Embedding(encoder))


def test_what_befalls_a_film_meanwhile_costs_its_row_alone(place, tmp_path):
    sound = plan_of(place, tmp_path / "sound")
    engines.run_here(sound, embedding(place), sound.missing(), device="cpu")
    vectors = {row: v for shard in shards_of(sound) for row, v in zip(shard.rows.tolist(), shard.vectors, strict=True)}
    root = tmp_path / "films"
    for film in place.films:
        (root / film.path).parent.mkdir(parents=True, exist_ok=True)
        (root / film.path).write_bytes((place.films.root / film.path).read_bytes())
        os.utime(root / film.path, (1e9, 1e9))
    lines = place.table.read_text().splitlines()
    (root / "films.csv").write_text("\n".join(["\ufeffsep=,", *lines[1:], "../out.png,normal", ",normal", ""]))
    plan = plan_of(place, tmp_path / "changed", table=root / "films.csv")
    time.sleep(0.02)
    films = list(place.films)
    (root / films[5].path).unlink()
    (root / films[20].path).write_bytes((root / films[21].path).read_bytes())
    (root / films[33].path).write_bytes(b"\x89PNG\r\n\x1a\n")
    engines.run_here(plan, embedding(place), plan.missing(), device="cpu")
    told = {}
    found = engines.summarise(plan)
    for problem in found.problems:
        told[problem.row - 1] = problem.reason
    n = len(films)
    assert sorted(told) == [5, 20, 33, n, n + 1]
    assert told[5] == "the file cannot be opened: No such file or directory"
    assert told[20].startswith("it was changed after the run began")
    assert told[33].startswith("not a picture that can be read")
    assert "leaves the data root" in told[n]
    assert told[n + 1] == "the row names no file"
    assert (found.n_rows, found.n_done, found.n_problems) == (n + 2, n - 3, 5)
    for shard in shards_of(plan):
        for row, vector in zip(shard.rows.tolist(), shard.vectors, strict=True):
            np.testing.assert_array_equal(vector, vectors[row])  # to the last bit


def test_a_table_that_is_changed_meanwhile_ends_the_run(place, tmp_path):
    table, text = place.films.root / "other.csv", place.table.read_text()
    table.write_text(text)
    plan = plan_of(place, tmp_path / "shards", table=table)
    time.sleep(0.02)
    table.write_text(text.replace("normal,", "norma1,"))
    with pytest.raises(OSError, match="other.csv has changed since the run began: begin anew in another folder"):
        engines.run_here(plan, embedding(place), [0], device="cpu")


def test_a_root_that_is_gone_commits_nothing(place, tmp_path):
    plan = plan_of(place, tmp_path / "shards")
    gone = engines.scan_table(str(place.table), ROWS, root=str(tmp_path / "unmounted"))
    plan = engines.Plan(**{**vars(plan), "table": gone})
    with pytest.raises(FileNotFoundError, match="is not at hand: bring it back, and run this again"):
        engines.run_here(plan, embedding(place), [0], device="cpu")
    assert contents(plan.folder) == {}


def test_a_damaged_or_foreign_shard_is_not_believed(place, tmp_path):
    plan = plan_of(place, tmp_path / "shards", rows_per_shard=30)
    engines.run_here(plan, embedding(place), plan.missing(), device="cpu")
    first, second = (Path(plan.address(shard)) for shard in (0, 1))
    content = first.read_bytes()
    first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(OSError, match="is damaged: delete it and run this again"):
        engines.summarise(plan)
    first.write_bytes(second.read_bytes())
    with pytest.raises(ValueError, match="does not hold each of its rows once: delete it"):
        engines.summarise(plan)


def test_tables_and_shards_at_an_address_and_in_parquet(place, tmp_path):
    """An address of fsspec's memory stands for s3:// and gs://; the bytes are those of local shards."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra `ray`)")
    from fsspec.implementations.memory import MemoryFileSystem
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    here = plan_of(place, tmp_path / "here")
    engines.run_here(here, embedding(place), here.missing(), device="cpu")
    system = MemoryFileSystem()
    system.put(f"{place.films.root}/", "/bucket/films", recursive=True)
    rows = tmp_path / "rows.csv"
    rows.write_text("".join(place.table.read_text().splitlines(keepends=True)[1:]))
    table = arrow_csv.read_csv(rows, convert_options=arrow_csv.ConvertOptions(strings_can_be_null=True))
    parquet.write_table(table, tmp_path / "films.parquet", row_group_size=10)
    system.put_file(str(tmp_path / "films.parquet"), "/bucket/films/films.parquet")
    for name in ("films.csv", "films.parquet"):
        far = plan_of(place, f"memory://bucket/{name}.shards", table=f"memory://bucket/films/{name}")
        engines.run_here(far, embedding(place), far.missing(), device="cpu")
        assert far.missing() == []
        for one, other in zip(shards_of(here), shards_of(far), strict=True):
            np.testing.assert_array_equal(one.rows, other.rows)
            np.testing.assert_array_equal(one.vectors, other.vectors)
            assert one.told == other.told
    assert not [name for name in system.find("/bucket") if name.endswith(".part")]
    with pytest.raises(ValueError, match="leaves the data root"):
        decoded.below("memory://bucket/films", "../secret.png")


def test_rows_of_a_table_are_read_as_they_stand(tmp_path):
    table = tmp_path / "t.csv"
    cells = [["a,1.png", "x"], ["b\n2.png", "y"], ["c.png", "'=z"], ["d.png", "nan"], ["é.png", "w"]]
    with table.open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([["File", "Finding"], *cells[:2], [], *cells[2:]])
    for rows_per_shard in (1, 2, 9):
        found = engines.scan_table(str(table), rows_per_shard)
        films = [film for shard in range(found.n_shards) for film in found.films(shard)[0]]
        assert [film.path for film in films] == [path for path, _ in cells]
        assert [film.findings for film in films] == [("x",), ("y",), ("=z",), (), ("w",)]
    table.write_bytes(table.read_bytes().replace("é".encode(), b"\xe9"))
    with pytest.raises(ValueError, match="no CSV in UTF-8"):
        engines.scan_table(str(table), 2)
