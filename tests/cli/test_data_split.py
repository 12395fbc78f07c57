"""`fscxr data split`, in each of its ways."""

import json
from collections import Counter
from functools import partial

import pytest
from command_line import run
from PIL import Image

from fewshot_cxr.data import assert_no_leak, read_dataset
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.records import Records

divide = partial(run, "data", "split")


@pytest.fixture
def films(tmp_path):
    """A manifest of 60 patients with one or two films each, three sources, and some films of two findings."""
    (tmp_path / "films").mkdir()
    rows = ["path,label,patient_id,source"]
    for patient in range(60):
        label = ("normal", "pneumonia", "covid19", "normal|edema")[patient % 4]
        source = ("RSNA", "rsna", "https://sirm.org/a?b")[patient % 3]
        for film in range(1 + patient % 2):
            name = f"films/{patient}_{film}.png"
            Image.new("L", (4, 4)).save(tmp_path / name)
            rows.append(f"{name},{label},p{patient},{source}")
    (tmp_path / "films.csv").write_text("\n".join([*rows, ""]))
    return tmp_path / "films.csv"


def parts(file):
    """Read a manifest back: its header, and its films by split."""
    records = read_dataset("manifest", file)
    assert_no_leak(records)
    header = json.loads(file.read_text().splitlines()[0][2:])
    return header, {name: records.of_split(name) for name in ("train", "val", "test")}


def test_shares_by_default(films, capsys, tmp_path):
    assert divide(films, "--out", tmp_path / "split.csv", "--json", tmp_path / "split.json") == 0
    header, by_split = parts(tmp_path / "split.csv")
    assert {"kind": "fractions", "seed": 0, "fractions": [0.7, 0.1, 0.2]}.items() <= header.items()
    result = json.loads((tmp_path / "split.json").read_text())
    assert result["by_split"] == {name: len(part) for name, part in sorted(by_split.items())}
    assert result["data_hash"] == header["hash"] == result["manifests"][0]["data_hash"]
    train = by_split["train"]
    row = next(line for line in capsys.readouterr().out.splitlines() if "train" in line)
    counts = [sum(finding in film.findings for film in train) for finding in train.findings]
    shown = [len(train), len({film.patient_id for film in train}), *counts]
    assert [int(cell) for cell in row.split() if cell.isdigit()] == shown


def test_folds_are_manifests_that_each_train(films, tmp_path):
    assert divide(films, "--folds", 4, "--seed", 3, "--out", tmp_path / "cv.csv", "--json", tmp_path / "cv.json") == 0
    tested = []
    for number in range(4):
        header, by_split = parts(tmp_path / f"cv-{number}.csv")
        assert {"kind": "folds", "seed": 3, "n_folds": 4, "test_fold": number}.items() <= header.items()
        tested += [film.path for film in by_split["test"]]
    assert not (tmp_path / "cv.csv").exists()
    assert sorted(tested) == sorted(film.path for film in read_dataset("manifest", films))
    result = json.loads((tmp_path / "cv.json").read_text())
    assert [manifest["test_fold"] for manifest in result["manifests"]] == [0, 1, 2, 3]


def test_a_manifest_for_each_source_with_a_name_that_any_disk_takes(films, tmp_path):
    assert divide(films, "--leave-source-out", "--out", tmp_path / "s.csv") == 0
    names = {"s-RSNA.csv": "RSNA", "s-rsna-2.csv": "rsna", "s-https_sirm.org_a_b.csv": "https://sirm.org/a?b"}
    assert {file.name for file in tmp_path.glob("s-*")} == set(names)
    for name, source in names.items():
        header, by_split = parts(tmp_path / name)
        assert {"kind": "leave_source_out", "seed": 0, "source": source}.items() <= header.items()
        assert {film.source for film in by_split["test"]} == {source}
        assert source not in {film.source for part in ("train", "val") for film in by_split[part]}


def test_so_many_films_of_each_class(films, tmp_path):
    assert divide(films, "--per-class", "4,2", "--out", tmp_path / "split.csv") == 0
    header, by_split = parts(tmp_path / "split.csv")
    assert {"kind": "per_class", "seed": 0, "n_test": 4, "n_val": 2}.items() <= header.items()
    for name, wanted in (("test", 4), ("val", 2)):
        counts = Counter(finding for film in by_split[name] for finding in film.findings)
        assert counts == dict.fromkeys(("covid19", "edema", "normal", "pneumonia"), wanted)


def test_novel_findings_and_shares_of_the_rest(films, tmp_path):
    out = tmp_path / "split.csv"
    assert divide(films, "--novel", "covid19, edema", "--fractions", "0.5,0.2,0.3", "--out", out) == 0
    header, by_split = parts(out)
    wanted = {"kind": "novel", "seed": 0, "novel": ["covid19", "edema"], "fractions": [0.5, 0.2, 0.3]}
    assert wanted.items() <= header.items()
    assert by_split["train"].findings == by_split["val"].findings == ("normal", "pneumonia")
    assert by_split["test"].findings == ("covid19", "edema", "normal", "pneumonia")


def test_notes_are_printed_once(films, capsys, tmp_path):
    kept = [line for line in films.read_text().splitlines() if "edema" not in line or ",p3," in line]
    films.write_text("\n".join([*kept, ""]))
    assert divide(films, "--folds", 3, "--out", tmp_path / "cv.csv", "--json", "-") == 0
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if "edema: 1 patient has it, for 3 parts" in line]
    assert len(said) == len(set(said)) == 2
    for manifest in json.loads(captured.out)["manifests"]:
        assert [f"note: {note}" for note in manifest["notes"]] == said


def test_many_findings_stand_in_rows(films, capsys, tmp_path):
    lines = films.read_text().splitlines()
    many = [line.replace(",normal,", f",finding_{number % 8},") for number, line in enumerate(lines)]
    films.write_text("\n".join([*many, ""]))
    assert divide(films, "--out", tmp_path / "split.csv") == 0
    rows = capsys.readouterr().out.splitlines()
    head = next(row for row in rows if "train" in row)
    assert head.index("train") < head.index("val") < head.index("test")
    assert any("finding_3" in row for row in rows)


def test_a_manifest_that_leaks_is_split_anew(films, tmp_path):
    assert divide(films, "--out", tmp_path / "split.csv") == 0
    text = (tmp_path / "split.csv").read_text().splitlines()
    at = next(number for number, line in enumerate(text) if line.startswith("films/1_0.png"))
    for split in ("train", "val", "test"):
        text[at] = text[at].replace(f",{split},", ",other,")
    (tmp_path / "leak.csv").write_text("\n".join([*text, ""]))
    assert divide(tmp_path / "leak.csv", "--out", tmp_path / "mended.csv") == 0
    parts(tmp_path / "mended.csv")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--folds", 5, "--novel", "edema"), "--folds and --novel exclude each other: a film is split in one way"),
        (("--fractions", "0.5,0.2,0.3", "--per-class", "2,2"), "--fractions and --per-class exclude each other: "),
        (("--leave-source-out", "--folds", 3), "--folds and --leave-source-out exclude each other: "),
        (("--per-class", "60"), "--per-class 60: two numbers were expected (test, val), got 1"),
        (("--per-class", "0,5"), "--per-class 0,5: 1 or more for test and 0 or more for val were expected"),
        (("--per-class", "a,b"), "--per-class a,b: two numbers such as 60,60 were expected"),
        (("--per-class", "9,9"), "covid19 has 15 films of 15 patients, which cannot give 9 films to test"),
        (("--novel", "covid"), "unknown finding 'covid' (did you mean 'covid19'?); choose from "),
        (("--folds", 2), "Invalid value for '--folds': 2 is not in the range x>=3."),
        (("--folds", 100), "--folds is 100, but the films are of 60 patients: take fewer folds"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(films, capsys, tmp_path, flags, said):
    assert divide(films, *flags, "--out", tmp_path / "split.csv") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"fscxr: error: {said}")
    assert not list(tmp_path.glob("split*"))


def test_one_source_cannot_be_left_out(films, capsys, tmp_path):
    records = read_dataset("manifest", films)
    one = Records(tuple(film for film in records if film.source == "RSNA"), records.root)
    films.write_text("path,label,source\n" + "".join(f"{film.path},normal,RSNA\n" for film in one))
    assert divide(films, "--leave-source-out", "--out", tmp_path / "split.csv") == 2
    assert "leaving a source out needs 2 sources or more, got RSNA" in capsys.readouterr().err


def test_an_audit_keeps_copies_together(tmp_path, capsys):
    films = make_synthetic(tmp_path / "films", n_patients=6, findings=("normal", "effusion"), size_px=64)
    rows = [f"films/{film.path},{film.finding},{film.patient_id}" for film in films]
    for number, film in enumerate(films[:8]):
        (tmp_path / f"copy{number}.png").write_bytes(films.file(film).read_bytes())
        rows.append(f"copy{number}.png,{film.finding},other{number}")
    (tmp_path / "films.csv").write_text("\n".join(["path,label,patient_id", *rows]))
    audit, split, again = tmp_path / "audit.json", tmp_path / "split.csv", tmp_path / "again.json"
    assert run("data", "audit", tmp_path / "films.csv", "--json", audit) == 0
    assert divide(tmp_path / "films.csv", "--out", split) == 0
    assert run("data", "audit", split, "--fail-on", "leak") == 3
    for copies, n_dropped in (("group", 0), ("drop", 8)):
        ask = ("--audit", audit, "--copies", copies)
        capsys.readouterr()
        assert divide(tmp_path / "films.csv", *ask, "--out", split, "--json", again, "--overwrite") == 0
        assert "note: films that copies join: " in capsys.readouterr().err
        header, by_split = parts(split)
        assert (header["audit"]["copies"], header["audit"]["n_dropped"]) == (copies, n_dropped)
        assert sum(map(len, by_split.values())) == len(rows) - n_dropped
        assert json.loads(again.read_text())["audit"] == header["audit"]
        assert run("data", "audit", split, "--fail-on", "leak") == 0


def test_an_audit_of_other_films_is_refused(films, tmp_path, capsys):
    assert divide(films, "--copies", "drop", "--out", tmp_path / "a.csv") == 2
    assert "--copies needs --audit" in capsys.readouterr().err
    assert run("data", "audit", films, "--json", tmp_path / "audit.json") == 0
    assert divide(films, "--findings", "normal", "--audit", tmp_path / "audit.json", "--out", tmp_path / "a.csv") == 2
    assert "the audit is of other films" in capsys.readouterr().err
    (tmp_path / "audit.json").write_text('{"kind": "comparison"}')
    assert divide(films, "--audit", tmp_path / "audit.json", "--out", tmp_path / "a.csv") == 2
    assert "is no whole audit" in capsys.readouterr().err
    assert not list(tmp_path.glob("a*.csv"))
