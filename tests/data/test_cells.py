"""What a cell means: nothing, a split, one finding or several; and findings that may be one."""

import pytest

from fewshot_cxr.data import merge_records, read_dataset, rename_findings
from fewshot_cxr.data.merge import namespace_notes
from fewshot_cxr.data.no_value import says_nothing
from fewshot_cxr.data.readers.cells import alike_findings, is_normal, names_in, split_joined_names
from fewshot_cxr.records import Record, Records


@pytest.fixture
def folder(tmp_path):
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(b"film")
    return tmp_path


def read(folder, columns, cells, **options):
    rows = "".join(f"{number}.png,{text}\n" for number, text in enumerate(cells))
    (folder / "films.csv").write_text(f"path,{columns}\n{rows}", encoding="utf-8")
    return read_dataset("manifest", folder / "films.csv", **options)


NOTHING = ("nan", "NaN", "None", "N/A", "<NA>", "null", " ", "-", "--", "?", "NaT", "#N/A")


@pytest.mark.parametrize("cell", NOTHING)
def test_a_patient_that_says_nothing_is_unknown(folder, cell):
    records = read(folder, "label,patient_id", [f"a,{cell}", f"b,{cell}", "a,7", "b,7"])
    assert [film.patient_id for film in records] == [None, None, "7", "7"]
    assert any("the patients of 2 of 4 films are unknown" in note for note in records.notes)
    assert not cell.strip() or f"2 films have no patient_id: {cell!r} stands for none" in records.notes


@pytest.mark.parametrize("cell", ["unknown", "Anonymous", "anonymized patient", "ANON"])
def test_nobody_is_no_patient(folder, cell):
    records = read(folder, "label,patient", [f"a,{cell}", f"b,{cell}", "a,7"])
    assert [film.patient_id for film in records] == [None, None, "7"]


@pytest.mark.parametrize("cell", NOTHING)
def test_a_finding_that_says_nothing_leaves_the_row_out(folder, cell):
    records = read(folder, "label", ["a", cell, "No Finding"])
    assert [film.finding for film in records] == ["a", "No Finding"]
    assert [(problem.row, problem.reason) for problem in records.problems] == [(3, "the row names no finding")]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("('a',)", ("a",)),
        ("('a', 'b')", ("a", "b")),
        ("['a' 'b']", ("a", "b")),  # numpy
        ("['a'\n 'b']", ("a", "b")),
        ("array(['a', 'b'], dtype=object)", ("a", "b")),
        ("[np.str_('a'), np.str_('b')]", ("a", "b")),
        ("{'a'}", ("a",)),
        ("frozenset({'a'})", ("a",)),
        ('["a, left", "\\u00e9"]', ("a, left", "\N{LATIN SMALL LETTER E WITH ACUTE}")),  # JSON
        ("['it\\'s']", ("it's",)),
        ("['a\\d']", ("ad",)),
        ("[]", ()),
        ("()", ()),
        ("[a, b]", ("a", "b")),
        ("(a)", ("(a)",)),
        ("set", ("set",)),
        ("TB (old)", ("TB (old)",)),
        ("it's", ("it's",)),
        ("'a' or 'b'", ("'a' or 'b'",)),
        ("[", ("[",)),
    ],
)
def test_lists_as_programs_write_them(cell, names):
    assert names_in(cell) == names


E_ACUTE, E_AND_ACUTE = "\u00e9", "e\u0301"


def test_two_unicode_forms_of_a_name_are_one(folder):
    (folder / f"caf{E_AND_ACUTE}.png").write_bytes(b"film")
    rows = [f"0.png,l{E_ACUTE}sion,Ren{E_ACUTE}", f"1.png,l{E_AND_ACUTE}sion,Ren{E_AND_ACUTE}"]
    rows.append(f"caf{E_ACUTE}.png,l{E_ACUTE}sion,7")
    (folder / "films.csv").write_text("\n".join(["path,label,patient_id", *rows]), encoding="utf-8")
    records = read_dataset("manifest", folder / "films.csv")
    assert records.count_findings() == {f"l{E_ACUTE}sion": 3}
    assert [film.patient_id for film in records] == [f"Ren{E_ACUTE}", f"Ren{E_ACUTE}", "7"]
    assert records[2].path == f"caf{E_AND_ACUTE}.png"  # as it is on the disk


def test_normal_beside_a_finding_is_told(folder):
    records = read(folder, "label", ["No Finding|pneumonia", "normal", "pneumonia", "normal|effusion"])
    told = "2 films are called normal and have a finding (0.png: No Finding and pneumonia): correct their rows"
    assert told in records.notes
    records = read(folder, "label", ["No Finding|Support Devices", "negative|pneumonia", "normal|negative"])
    assert not any("are called normal" in note for note in records.notes)


def test_every_column_may_say_nothing(folder):
    film = read(folder, "label,group_id,source,split,view,mask_path,sex", ["a,nan,None,-,NA,nan,?"])[0]
    assert film == Record("0.png", ("a",))


def test_one_patient_of_many_films_is_said(folder):
    records = read(folder, "label,pid", ["a,0"] * 9 + ["b,1", "b,2", "b,3"])
    assert "the patient '0' has 9 of 12 films" in " ".join(records.notes)
    assert "does this id" not in " ".join(read(folder, "label,pid", [f"a,{n // 4}" for n in range(12)]).notes)


@pytest.mark.parametrize("mark", ["; ", ";", ", ", "/", " & ", "+"])
def test_several_names_in_a_cell_are_several_findings(folder, mark):
    records = read(folder, "label", ["Mass", "Edema", f'"Edema{mark}Mass"'])
    assert [film.findings for film in records] == [("Mass",), ("Edema",), ("Edema", "Mass")]
    assert any(note.startswith("1 films name several findings at once") for note in records.notes)


def test_a_name_with_a_comma_stays_where_its_parts_are_no_findings(folder):
    records = read(folder, "label", ['"Pneumonia, viral"', "Mass", "Edema;Cyst"])
    assert records.findings == ("Edema;Cyst", "Mass", "Pneumonia, viral")
    assert "'Edema;Cyst' may be several findings" in " ".join(records.notes)
    assert "Pneumonia, viral" not in " ".join(records.notes)


def test_a_list_as_python_writes_it():
    assert names_in("['Mass', \"Edema\"]") == ("Mass", "Edema")
    assert names_in("Mass| Edema |Mass") == ("Mass", "Edema")
    assert names_in("[]") == names_in(" ") == ()


def films(*names):
    return [Record(f"{number}.png", (name,)) for number, name in enumerate(names)]


@pytest.mark.parametrize(
    "names",
    [
        ("Normal", "normal"),
        ("COVID-19", "covid19"),
        ("No Finding", "no_finding"),
        ("COVID-19", "positive"),
        ("Effusion", "Effusions"),
    ],
)
def test_findings_that_may_be_one_are_said_with_what_joins_them(names, tmp_path):
    (note,) = alike_findings(films(names[0], *names, "Mass"))
    flag = f"{names[1]}={names[0]}"
    assert f"{names[0]} (2 films), {names[1]} (1 films)" in note
    assert f'--map "{flag}"' in note if " " in flag else f"--map {flag}" in note
    parts = {name: Records(tuple(films(name)), tmp_path / name) for name in names}
    merged = merge_records(parts)
    assert any("findings that may be one" in note for note in merged.notes)
    renamed = rename_findings(merged, {names[1]: names[0]})
    assert not any("findings that may be one" in note for note in renamed.notes)


def test_different_findings_are_not_said_to_be_one():
    assert alike_findings(films("Mass", "Nodule", "Pneumonia", "Pneumothorax", "MERS", "SARS")) == ()


def test_splits_by_other_names_are_said(folder):
    records = read(folder, "label,split", ["a,Train", "b,Validate", "a,test", "b,fold3", "a,"])
    assert [film.split for film in records] == ["train", "val", "test", "fold3", None]
    notes = " ".join(records.notes)
    assert "the split 'Validate' is taken for val (1 films)" in notes
    assert "'fold3' (1 films) is none of train, val and test" in notes


def test_what_says_nothing():
    assert all(map(says_nothing, NOTHING))
    assert not any(map(says_nothing, ("0", "No Finding", "normal", "no", "n")))


def test_what_is_normal_under_each_of_its_names():
    assert all(map(is_normal, ("normal", "No Finding", "no_finding", "NEGATIVE", "healthy")))
    assert not any(map(is_normal, ("positive", "abnormal", "Pneumonia", "")))


def test_free_text_as_finding_is_looked_through_once():
    films = [Record(f"{n}.png", (f"No focal consolidation {n}, effusion, or pneumothorax.",)) for n in range(20_000)]
    split, _ = split_joined_names(films)  # in a quarter of a second; each text beside each other would take a minute
    assert split == tuple(films)


@pytest.mark.parametrize("cells", [["a,7.0", "b,7.0", "a,8.0", "b,"], ["a,7.0", "b,7", "a,8", "b,nan"]])
def test_a_whole_number_with_a_point_is_the_number(folder, cells):
    records = read(folder, "label,patient_id", cells)
    assert [film.patient_id for film in records] == ["7", "7", "8", None]
    assert "the patient_id is a number with a point: 7.0 is taken for 7, and so on" in records.notes


def test_versions_are_no_whole_numbers(folder):
    records = read(folder, "label,patient_id", ["a,7.0", "b,7.5", "a,x"])
    assert [film.patient_id for film in records] == ["7.0", "7.5", "x"]


@pytest.mark.parametrize(
    ("first", "second", "is_told"), [("007", "7", True), ("007", "07x", False), ("007", "007", False)]
)
def test_ids_that_differ_in_zeros_alone_are_told(first, second, is_told):
    parts = {
        name: Records((Record("1.png", ("a",), patient_id=one),), name)
        for name, one in zip("st", (first, second), strict=True)
    }
    notes = namespace_notes(parts, {"s": "s", "t": "s"})
    assert any("differ in leading zeros alone: 1, such as 007 and 7" in note for note in notes) == is_told
