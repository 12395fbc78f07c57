import json
from collections import Counter, defaultdict

import pytest

from fewshot_cxr.data.readers.coronahack import CLASSES, PATIENT_KEYS, parse_metadata, read_coronahack

TABLE = "Chest_xray_Corona_Metadata.csv"
HEADER = ",X_ray_image_name,Label,Dataset_type,Label_2_Virus_category,Label_1_Virus_category\n"
ROWS = """0,IM-0128-0001.jpeg,Normal,TRAIN,,
1,NORMAL2-IM-0128-0001-0002.jpeg,Normal,TEST,,
2,person23_bacteria_100.jpeg,Pnemonia,TRAIN,,bacteria
3,person23_virus_56.jpeg,Pnemonia,TEST,,Virus
4,person447_virus_921_1.jpeg,Pnemonia,TRAIN,,Virus
17,strep-day3.jpg,Pnemonia,TRAIN,Streptococcus,bacteria
18,gr1_lrg-a.jpg,Pnemonia,TRAIN,COVID-19,Virus
19,gr1_lrg-b2.png,Pnemonia,TRAIN,COVID-19,Virus
20,SARS-day9.jpeg,Pnemonia,TRAIN,SARS,Virus
21,ards.jpg,Pnemonia,TRAIN,ARDS,Stress-Smoking
"""
FINDINGS = {
    "most_specific": ["Normal"] * 2
    + ["bacteria", "Virus", "Virus", "Streptococcus"]
    + ["COVID-19"] * 2
    + ["SARS", "ARDS"],
    "covid_unknown_bacteria": ["unknown"] * 2
    + ["bacteria", None, None, "bacteria", "COVID-19", "COVID-19", None, None],
    "virus_unknown_bacteria": ["unknown"] * 2 + ["bacteria", "Virus", "Virus", "bacteria"] + ["Virus"] * 3 + [None],
}
COHENS = ["strep", "gr1_lrg", "gr1_lrg", "SARS", "ards"]
PATIENTS = {
    "type_and_number": [
        "IM-0128",
        "NORMAL2-IM-0128",
        "person23_bacteria",
        "person23_virus",
        "person447_virus",
        *COHENS,
    ],
    "number": ["IM-0128", "IM-0128", "person23", "person23", "person447", *COHENS],
    "split_and_number": [
        "train/IM-0128",
        "test/IM-0128",
        "train/person23",
        "test/person23",
        "train/person447",
        *COHENS,
    ],
    "none": [None] * 10,
}


@pytest.fixture
def root(tmp_path):
    return make(tmp_path / "coronahack", "Coronahack-Chest-XRay-Dataset/Coronahack-Chest-XRay-Dataset/")


def make(root, above, rows=ROWS):
    root.mkdir()
    (root / TABLE).write_text(HEADER + rows)
    for line in rows.splitlines():
        _, name, _, split, *_ = line.split(",")
        path = root / above / split.lower() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")
    return root


@pytest.mark.parametrize("classes", sorted(CLASSES))
def test_each_class_rule(root, classes):
    rows, _ = parse_metadata(root / TABLE, classes=classes)
    assert [finding_of(row) for row in rows] == FINDINGS[classes]
    records = read_coronahack(root, classes=classes)
    assert [film.finding for film in records] == [finding for finding in FINDINGS[classes] if finding]
    assert records.n_rows == 10
    n_passed_over = sum(int(note.split()[0]) for note in records.notes if "rows passed over" in note)
    assert n_passed_over == FINDINGS[classes].count(None)


def test_rows_that_a_rule_drops_are_named(root):
    notes = read_coronahack(root, classes="covid_unknown_bacteria").notes
    assert "2 rows passed over: Virus is no class of covid_unknown_bacteria" in notes
    assert "1 rows passed over: SARS is no class of covid_unknown_bacteria" in notes


@pytest.mark.parametrize("key", sorted(PATIENT_KEYS))
def test_each_patient_key(root, key):
    assert [film.patient_id for film in read_coronahack(root, patient_key=key)] == PATIENTS[key]


def test_a_film_keeps_what_the_row_says(root):
    film = read_coronahack(root)[6]
    assert film.path == "Coronahack-Chest-XRay-Dataset/Coronahack-Chest-XRay-Dataset/train/gr1_lrg-a.jpg"
    assert (film.finding, film.source, film.split) == ("COVID-19", "cohen", None)
    assert film.attributes == {
        "label": "Pneumonia",
        "label_1": "Virus",
        "label_2": "COVID-19",
        "official_split": "train",
    }
    assert read_coronahack(root).count_by(lambda film: film.source) == {"cohen": 5, "kermany": 5}


def test_the_official_split_is_an_option(root):
    lack = "TEST has no ARDS, COVID-19, SARS, Streptococcus, bacteria"
    divide = "no split is set: divide the films with fscxr data split (official_split keeps TRAIN and TEST; "
    assert f"{divide}{lack})" in read_coronahack(root).notes
    records = read_coronahack(root, official_split=True)
    assert records.count_by(lambda film: film.split) == {"test": 2, "train": 8}
    assert f"the split is the official TRAIN and TEST; {lack}" in records.notes


@pytest.mark.parametrize("above", ["", "Coronahack-Chest-XRay-Dataset/"])
def test_fewer_folders(tmp_path, above):
    records = read_coronahack(make(tmp_path / "set", above))
    assert (len(records), records[0].path) == (10, f"{above}train/IM-0128-0001.jpeg")


def test_every_row_is_counted(tmp_path):
    more = (
        "22,IM-0128-0001.jpeg,Normal,TRAIN,,\n23,empty.jpg,Normal,TRAIN,,\n24,IM-1-1.jpeg,Normal,DEV,,\n"
        "25,,Normal,TRAIN,,\n26,x.jpg,,TRAIN,,\n\n27,gone.jpg\n28,gone.jpg,Normal,TRAIN,,\n"
    )
    root = make(tmp_path / "set", "")
    (root / TABLE).write_text(HEADER + ROWS + more)
    (root / "train" / "empty.jpg").touch()
    records = read_coronahack(root)
    assert (len(records), records.n_rows) == (10, 17)
    assert [(problem.row, problem.path, problem.kind, problem.reason) for problem in records.problems] == [
        (12, "train/IM-0128-0001.jpeg", "duplicate", "the file is named in an earlier row"),
        (13, "train/empty.jpg", "unreadable", "the file is empty"),
        (14, "IM-1-1.jpeg", "other", "the row's Dataset_type is 'DEV', not TRAIN or TEST"),
        (15, "", "other", "the row names no file"),
        (16, "x.jpg", "other", "the row has no Label"),
        (18, "gone.jpg", "other", "the row's Dataset_type is '', not TRAIN or TEST"),
        (19, "train/gone.jpg", "missing", "the file is missing"),
    ]


def test_wrong_options_and_roots(root, tmp_path):
    with pytest.raises(
        ValueError, match=r"unknown classes of coronahack 'covid'; choose from covid_unknown_bacteria, most_"
    ):
        read_coronahack(root, classes="covid")
    with pytest.raises(ValueError, match=r"unknown patient_key of coronahack 'numbers' \(did you mean 'number'\?\)"):
        read_coronahack(root, patient_key="numbers")
    (tmp_path / "other" / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf"other: expected {TABLE}; found train/"):
        read_coronahack(tmp_path / "other")
    (tmp_path / "other" / TABLE).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"has no column X_ray_image_name, .*; it has a, b"):
        read_coronahack(tmp_path / "other")


def test_a_name_that_leaves_the_root_is_refused(tmp_path):
    root = make(tmp_path / "set", "")
    (root / TABLE).write_text(HEADER + "0,../../x.jpeg,Normal,TRAIN,,\n")
    with pytest.raises(ValueError, match=r"Metadata\.csv, row 2: .* leaves the data root"):
        read_coronahack(root)


def finding_of(row):
    return row.film.findings[0] if row.film.findings else None


def name_of(row):
    return row.film.path.rpartition("/")[2]


def said(row, *names):
    return tuple(row.film.attributes[name] for name in names)


def whole(fscxr_data, **options):
    rows, notes = parse_metadata(fscxr_data / "layouts" / "coronahack" / "full_metadata" / TABLE, **options)
    assert len(rows) == 5910
    assert not notes
    assert not any(row.fault for row in rows)
    return rows


def test_whole_table(fscxr_data):
    rows = whole(fscxr_data)
    assert Counter(said(row, "label", "label_1", "label_2", "official_split") for row in rows) == {
        ("Normal", "", "", "train"): 1342,
        ("Normal", "", "", "test"): 234,
        ("Pneumonia", "bacteria", "", "train"): 2530,
        ("Pneumonia", "bacteria", "", "test"): 242,
        ("Pneumonia", "Virus", "", "train"): 1345,
        ("Pneumonia", "Virus", "", "test"): 148,
        ("Pneumonia", "Virus", "COVID-19", "train"): 58,
        ("Pneumonia", "bacteria", "Streptococcus", "train"): 5,
        ("Pneumonia", "Virus", "SARS", "train"): 4,
        ("Pneumonia", "Stress-Smoking", "ARDS", "train"): 2,
    }
    assert len({name_of(row) for row in rows}) == 5910
    assert Counter(row.film.source for row in rows) == {"kermany": 5840, "cohen": 70}
    assert {finding_of(row) for row in rows if row.film.source == "kermany"} == {"Normal", "bacteria", "Virus"}


def test_whole_table_by_class_rule(fscxr_data):
    counts = {rule: Counter(finding_of(row) for row in whole(fscxr_data, classes=rule)) for rule in CLASSES}
    assert counts == {
        "most_specific": {
            "bacteria": 2772,
            "Normal": 1576,
            "Virus": 1493,
            "COVID-19": 58,
            "Streptococcus": 5,
            "SARS": 4,
            "ARDS": 2,
        },
        "covid_unknown_bacteria": {"bacteria": 2777, "unknown": 1576, "COVID-19": 58, None: 1499},
        "virus_unknown_bacteria": {"bacteria": 2777, "unknown": 1576, "Virus": 1555, None: 2},
    }


@pytest.mark.parametrize(("key", "n_crossing"), [("type_and_number", 0), ("number", 170), ("split_and_number", 0)])
def test_patients_across_the_official_split(fscxr_data, key, n_crossing):
    splits = defaultdict(set)
    for row in whole(fscxr_data, patient_key=key):
        if name_of(row).startswith("person"):
            splits[row.film.patient_id].add(row.film.attributes["official_split"])
    assert sum(len(names) > 1 for names in splits.values()) == n_crossing


def test_patients_of_the_whole_table(fscxr_data):
    rows = whole(fscxr_data)
    n_films = Counter(row.film.patient_id for row in rows if name_of(row).startswith("person"))
    assert n_films.total() == 4265
    assert n_films["person23_bacteria"] == max(n_films.values()) == 30
    assert sum(count for count in n_films.values() if count > 1) == 2269
    covid = [row.film for row in rows if said(row, "label_2") == ("COVID-19",)]
    assert len({film.patient_id for film in covid}) == 49  # 39 by Cohen's own table
    assert {row.film.patient_id for row in whole(fscxr_data, patient_key="none")} == {None}


def test_real_layout(fscxr_data):
    expected = json.loads((fscxr_data / "layouts" / "EXPECTED.json").read_text())["coronahack"]
    root = fscxr_data / "layouts" / "coronahack"
    records = read_coronahack(root)
    assert records.n_rows == expected["rows"]
    named = {
        kind: {p.path.rpartition("/")[2] for p in records.problems if p.kind == kind}
        for kind in ("missing", "unreadable")
    }
    assert named["missing"] == set(expected["missing"])
    assert named["unreadable"] == {path.rpartition("/")[2] for path in expected["zero_byte"]}
    n_present = expected["images_train"] + expected["images_test"]
    assert len(records) == n_present - len(expected["zero_byte"])
    rows, _ = parse_metadata(root / TABLE)
    told = (said(row, "official_split", "label", "label_1", "label_2") for row in rows)
    keys = Counter(
        f"{split.upper()}|{label.replace('Pneu', 'Pne')}|{label_1}|{label_2}" for split, label, label_1, label_2 in told
    )
    assert keys == expected["rows_per_key"]
