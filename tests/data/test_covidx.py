import json
from collections import Counter

import pytest

from fewshot_cxr.data.readers.covidx import parse_label_file, read_covidx

# From the label files themselves (COVID-Net's repository): rows by label, patients, rows by source as written.
WHOLE = {
    "train_COVIDx3": (
        {"normal": 7966, "pneumonia": 5451, "COVID-19": 253},
        13597,
        {"rsna": 13389, "cohen": 211, "sirm": 29, "actmed": 25, "fig1": 16},
    ),
    "test_COVIDx3": (
        {"normal": 100, "pneumonia": 100, "COVID-19": 100},
        272,
        {None: 197, "cohen": 42, "actmed": 33, "sirm": 17, "fig1": 11},
    ),
    "train_COVIDx7A": (
        {"normal": 7966, "pneumonia": 5475, "COVID-19": 1670},
        14923,
        {"rsna": 13389, "sirm": 1182, "cohen": 491, "actmed": 25, "fig1": 24},
    ),
    "test_COVIDx7A": (
        {"normal": 100, "pneumonia": 100, "COVID-19": 100},
        272,
        {None: 197, "cohen": 42, "actmed": 33, "sirm": 17, "fig1": 11},
    ),
    "test_COVIDx9A": ({"normal": 100, "pneumonia": 100, "COVID-19": 200}, 378, {"ricord": 200, "rsna": 200}),
    "test_COVIDx9B": ({"negative": 200, "positive": 200}, 378, {"ricord": 200, "rsna": 200}),
}


def write(root, lists, *, films=True):
    """Write lists by their path below the root and, next to them, the films that they name."""
    for name, text in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        split = name.rpartition("/")[2].partition("_")[0].partition(".")[0]
        for line in text.splitlines() if films else ():
            words = [word for word in line.split() if "." in word]
            folder = root / "data" / split
            folder.mkdir(parents=True, exist_ok=True)
            for word in words:
                (folder / word).write_bytes(b"film")
    return root


def test_lines_are_read_from_the_right(tmp_path):
    text = "3 a.png normal\n\nCOVID 1 COVID(1).png COVID-19 sirm\nP 2 b.PNG pneumonia\r\n4 c.jpg normal rnsa\n5 d.png x"
    (tmp_path / "list.txt").write_text(text)
    rows = parse_label_file(tmp_path / "list.txt")
    told = [(row.number, row.film) for row in rows[:4]]
    assert [(at, f.patient_id, f.path, f.finding, f.source) for at, f in told] == [
        (1, "3", "a.png", "normal", None),
        (3, "COVID 1", "COVID(1).png", "COVID-19", "sirm"),
        (4, "P 2", "b.PNG", "pneumonia", None),
        (5, "4", "c.jpg", "normal", "rnsa"),
    ]
    assert rows[4].number == 6
    assert rows[4].fault == (
        "reads '5 d.png x': a patient, a file and one of normal, pneumonia, COVID-19, bacteria, viral, negative, "
        "positive, level1, level2 were expected"
    )


def test_no_label_file(tmp_path):
    (tmp_path / "list.txt").write_text("epoch 1\nloss 0.1\n")
    with pytest.raises(
        ValueError, match=r"list\.txt is no label file of COVIDx, .*; line 1 reads 'epoch 1': a patient"
    ):
        parse_label_file(tmp_path / "list.txt")


def test_films_keep_patient_source_and_split(tmp_path):
    lists = {
        "labels/train_COVIDx9A.txt": "COVID 1 COVID(1).png COVID-19 sirm\n7 x.png pneumonia rnsa\n",
        "labels/test_COVIDx9A.txt": "8 y.png normal\n",
    }
    records = read_covidx(write(tmp_path, lists))
    assert [(f.path, f.finding, f.patient_id, f.source, f.split) for f in records] == [
        ("data/train/COVID(1).png", "COVID-19", "COVID 1", "sirm", "train"),
        ("data/train/x.png", "pneumonia", "7", "rsna", "train"),
        ("data/test/y.png", "normal", "8", None, "test"),
    ]
    assert records.notes == (
        "version 9A of COVIDx is read: the newest, multi-class before binary before severity",
        "1 rows say rnsa: read as rsna",
        "1 rows state no source",
    )


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["COVIDx", "COVIDx2", "COVIDx5"], "5"),
        (["COVIDx", "COVIDx6"], "1"),
        (["COVIDx7A", "COVIDx7B", "COVIDx9B", "COVIDxSev"], "7A"),
        (["COVIDx6", "COVIDx7B", "COVIDxSev"], "7B"),
        (["COVIDxSev"], "Sev"),
        (["COVIDx9A", "COVIDx_CXR-3A", "COVIDx10A"], "CXR-3A"),
        (["COVIDx9A", "COVIDx10A"], "10A"),
        (["COVIDx9B", "split", "split_v3"], "9B"),
        (["split", "split_v9", "split_v10"], "split_v10"),
    ],
)
def test_the_newest_is_the_default(tmp_path, there, chosen):
    def label(name):
        if name == "COVIDxSev":
            return "level1"
        return "positive" if name.endswith(("B", "6")) else "normal"

    lists = {f"{split}_{name}.txt": f"1 a.png {label(name)}\n" for name in there for split in ("train", "test")}
    records = read_covidx(write(tmp_path, lists))
    assert records.notes[0].startswith(f"version {chosen} of COVIDx is read: the newest, multi-class before binary")
    assert all(name.removeprefix("COVIDx").removeprefix("_") in f"1{records.notes[0]}" for name in there)


def test_version_in_any_case_and_unknown(tmp_path):
    lists = {f"labels/train_COVIDx{name}.txt": "1 a.png normal\n" for name in ("", "7A", "sev")}
    write(tmp_path, lists)
    for asked, name in {"7a": "7A", "SEV": "Sev", "1": "1"}.items():
        notes = read_covidx(tmp_path, version=asked).notes
        assert notes[0] == f"version {name} of COVIDx is read; it has no test list here"
    with pytest.raises(ValueError, match=r"unknown version of COVIDx '7B'; choose from 1, 7A, Sev"):
        read_covidx(tmp_path, version="7B")


def test_lists_of_scripts_and_of_kaggle(tmp_path):
    lists = {
        "train.txt": "1 a.png positive bimcv\n",
        "val.txt": "2 b.png negative bimcv\n",
        "test.txt": "3 c.png positive\n",
    }
    write(tmp_path, lists, films=False)
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"{name}.png").write_bytes(b"film")
    records = read_covidx(tmp_path)
    assert [(film.path, film.split) for film in records] == [
        ("train/a.png", "train"),
        ("val/b.png", "val"),
        ("test/c.png", "test"),
    ]
    assert records.notes[0].startswith("version unnamed of COVIDx is read")


def test_val_carved_from_train_and_other_text_files(tmp_path):
    lists = {"train_split.txt": "1 a.png normal\n2 b.png viral\n", "valid_split.txt": "2 c.png bacteria\n"}
    write(tmp_path, lists | {"train_log.txt": "epoch 1 of 9\n", "labels/notes.txt": "x\n"})
    (tmp_path / "data" / "valid" / "c.png").rename(tmp_path / "data" / "train" / "c.png")
    (tmp_path / "data" / "valid").rmdir()
    records = read_covidx(tmp_path)
    assert [(film.path, film.split) for film in records] == [
        ("data/train/a.png", "train"),
        ("data/train/b.png", "train"),
        ("data/train/c.png", "val"),
    ]
    assert "train_log.txt is not taken for a list: none of its lines is one of a label file" in records.notes
    assert any(note.startswith("1 patients are in several of its lists (2): ") for note in records.notes)


def test_one_version_in_two_places(tmp_path):
    lists = {"labels/train_COVIDx3.txt": "1 a.png normal\n", "train_COVIDx3.txt": "2 b.png normal\n"}
    records = read_covidx(write(tmp_path, lists))
    assert [film.patient_id for film in records] == ["1"]
    assert "train_COVIDx3.txt is not taken: version 3 is in labels/train_COVIDx3.txt" in records.notes


def test_patients_in_train_and_test_are_named(tmp_path):
    lists = {
        "train_COVIDx6.txt": "ANON191 a.png negative actmed\n7 b.png positive cohen\n",
        "test_COVIDx6.txt": "ANON191 c.png positive actmed\n8 d.png negative rsna\n",
    }
    notes = read_covidx(write(tmp_path, lists)).notes
    assert "1 patients are in several of its lists (ANON191): divide it anew with fscxr data split" in notes


def test_every_line_is_counted(tmp_path):
    text = "1 a.png pneumonia\n1 a.png pneumonia\n2 gone.png normal\n3 empty.png normal\nonly two\n"
    write(tmp_path, {"train_COVIDx.txt": text})
    (tmp_path / "data" / "train" / "gone.png").unlink()
    (tmp_path / "data" / "train" / "empty.png").write_bytes(b"")
    records = read_covidx(tmp_path)
    assert (records.n_rows, len(records)) == (5, 1)
    assert [(problem.row, problem.path, problem.kind) for problem in records.problems] == [
        (2, "data/train/a.png", "duplicate"),
        (3, "data/train/gone.png", "missing"),
        (4, "data/train/empty.png", "unreadable"),
        (5, "train_COVIDx.txt", "other"),
    ]


def test_a_name_that_leaves_the_root_is_refused(tmp_path):
    write(tmp_path / "set", {"train_COVIDx.txt": "1 ../../../x.png normal\n"}, films=False)
    with pytest.raises(ValueError, match=r"train_COVIDx\.txt, row 1: .* leaves the data root"):
        read_covidx(tmp_path / "set")


def test_wrong_root(tmp_path):
    (tmp_path / "images").mkdir()
    expected = r"expected \{train,test\}_COVIDx\*\.txt \(`patient file label \[source\]` a line\), in it or in labels/"
    with pytest.raises(FileNotFoundError, match=rf"{expected}; found images/"):
        read_covidx(tmp_path)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_whole_lists(fscxr_data, name):
    rows = parse_label_file(fscxr_data / "layouts" / "covidx" / "labels_full" / f"{name}.txt")
    labels, n_patients, sources = WHOLE[name]
    assert len(rows) == sum(labels.values())
    assert Counter(row.film.finding for row in rows) == labels
    assert len({row.film.patient_id for row in rows}) == n_patients
    assert Counter(row.film.source for row in rows) == sources
    n_with_blanks = {"train_COVIDx7A": 1182, "test_COVIDx7A": 17}.get(name, 0)
    assert sum(" " in row.film.patient_id for row in rows) == n_with_blanks
    assert not any(row.fault for row in rows)
    assert len({row.film.path for row in rows}) == len(rows)


def test_ids_of_all_sources_are_one_namespace(fscxr_data):
    folder = fscxr_data / "layouts" / "covidx" / "labels_full"
    sources = {}
    for path in folder.glob("*.txt"):
        for row in parse_label_file(path):
            sources.setdefault(row.film.patient_id, set()).add(row.film.source or "rsna")
    assert len(sources) > 15000
    assert all(len(names) == 1 for names in sources.values())


@pytest.mark.parametrize("version", ["1", "7A", "9A", "9B"])
def test_real_layout(fscxr_data, version):
    expected = json.loads((fscxr_data / "layouts" / "EXPECTED.json").read_text())["covidx"]
    records = read_covidx(fscxr_data / "layouts" / "covidx", version=version)
    names = [f"{split}_COVIDx{'' if version == '1' else version}" for split in ("train", "test")]
    assert records.n_rows == sum(expected["label_lines"].get(f"{name}.txt", 0) for name in names)
    missing = {
        line.split()[-3 if "cohen" in line else -2]
        for name in names
        for line in expected["missing_image_lines"].get(name, ())
    }
    assert {problem.path.rpartition("/")[2] for problem in records.problems if problem.kind == "missing"} == missing
    n_duplicates = sum(problem.kind == "duplicate" for problem in records.problems)
    assert n_duplicates == (4 if version == "1" else 0)
    assert len(records) + len(missing) + n_duplicates == records.n_rows
    assert "rnsa" not in records.count_by(lambda film: film.source)


def test_real_layout_by_default(fscxr_data):
    expected = json.loads((fscxr_data / "layouts" / "EXPECTED.json").read_text())["covidx"]["classes"]
    records = read_covidx(fscxr_data / "layouts" / "covidx")
    for split in ("train", "test"):
        found = records.of_split(split).count_by(lambda film: film.finding)
        assert found == expected[f"{split}_COVIDx9A.txt"]
