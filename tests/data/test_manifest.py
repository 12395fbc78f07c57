import json
import os
import time

import pytest

from fewshot_cxr.data import READERS, read_dataset, write_manifest
from fewshot_cxr.records import Record, Records


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "sub/c.png", "é ü.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"film")
    return tmp_path


def read(folder, text, *, encoding="utf-8", **options):
    (folder / "films.csv").write_bytes(text.encode(encoding))
    return read_dataset("manifest", folder / "films.csv", **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("path", "label"), [("path", "label"), ("File", "FINDING"), ("filename", "class"), ("image", "label")]
)
def test_columns_by_name_in_any_case(folder, delimiter, path, label):
    text = f"extra,{label},{path},patientid\nx,normal,a.png,7\ny,covid19,sub/c.png,8\n".replace(",", delimiter)
    records = read(folder, text)
    assert [(f.path, f.finding, f.patient_id, dict(f.attributes)) for f in records] == [
        ("a.png", "normal", "7", {"extra": "x"}),
        ("sub/c.png", "covid19", "8", {"extra": "y"}),
    ]
    assert any(note.startswith("columns taken: ") and path in note for note in records.notes)


def test_first_present_wins_and_flags_override(folder):
    text = "file,label,finding,patient_id,group_id,source,view,split\na.png,one,two,p,g,s,PA,test\n"
    film = read(folder, text)[0]
    assert (film.finding, film.group, film.patient_id) == ("one", "g", "p")
    assert (film.source, film.view, film.split) == ("s", "PA", "test")
    assert film.attributes["finding"] == "two"
    assert read(folder, text, label_column="finding")[0].finding == "two"
    assert read(folder, text, group_column="source")[0].group == "s"


def test_several_findings(folder):
    assert read(folder, "path,label\na.png,Effusion| Mass |\n")[0].findings == ("Effusion", "Mass")


@pytest.mark.parametrize(("encoding", "is_noted"), [("utf-8", False), ("utf-8-sig", False), ("latin-1", True)])
def test_encodings(folder, encoding, is_noted):
    records = read(folder, "path,label\né ü.png,a\n", encoding=encoding)
    assert records[0].path == "é ü.png"
    assert any("Latin-1" in note for note in records.notes) == is_noted


def test_a_table_of_windows_keeps_its_letters(folder):
    records = read(folder, "path,label\na.png,\u0152d\u00e8me\n", encoding="cp1252")
    assert records.findings == ("\u0152d\u00e8me",)
    assert any("read as Windows-1252" in note for note in records.notes)


def test_bytes_that_windows_does_not_know_are_latin_1(folder):
    (folder / "films.csv").write_bytes(b"path,label,more\na.png,x,\x81\n")
    assert "films.csv is not UTF-8: read as Latin-1" in read_dataset("manifest", folder / "films.csv").notes


def test_commas_of_a_quoted_column_name_are_no_delimiter(folder):
    records = read(folder, 'path;label;"note (ward, bed, day, shift)"\na.png;x;"1, 2"\n')
    assert records[0].findings == ("x",)


def test_bad_rows_are_named_and_left_out(folder):
    (folder / "zero.png").touch()
    records = read(folder, "path,label\na.png,x\n,x\nb.png,\na.png,x\n./a.png,x\ngone.png,x\nzero.png,x\nb.png,x\n")
    assert [film.path for film in records] == ["a.png", "b.png"]
    assert [(p.row, p.reason) for p in records.problems] == [
        (3, "the row names no file"),
        (4, "the row names no finding"),
        (5, "the file is named in an earlier row"),
        (6, "the file is named in an earlier row"),
        (7, "the file is missing"),
        (8, "the file is empty"),
    ]


@pytest.mark.parametrize("way", ["..", "absolute", "link", "linked folder"])
def test_a_path_that_leaves_the_root_is_refused(folder, way):
    root = folder / "sub"
    (root / "link.png").symlink_to(folder / "a.png")
    (root / "linked").symlink_to(folder)
    path = {"..": "../a.png", "absolute": str(folder / "a.png"), "link": "link.png", "linked folder": "linked/a.png"}[
        way
    ]
    with pytest.raises(ValueError, match=r"films\.csv, row 3: .* leaves the data root .*\(--root\)"):
        read(folder, f"path,label\nc.png,x\n{path},x\n", root=root)


def test_an_absolute_path_below_the_root_is_taken(folder):
    assert read(folder, f"path,label\n{folder / 'sub' / 'c.png'},x\n")[0].path == "sub/c.png"


@pytest.mark.parametrize(("columns", "flag"), [("path,age", "--label-column"), ("label,age", "--path-column")])
def test_a_missing_column_names_the_flag(folder, columns, flag):
    with pytest.raises(
        ValueError, match=rf"films\.csv has no (label|path) column .* it has {columns.replace(',', ', ')}.*{flag}"
    ):
        read(folder, f"{columns}\na.png,1\n")


def test_a_misspelt_column_is_answered_with_the_nearest(folder):
    with pytest.raises(ValueError, match=r"--label-column finging.*did you mean 'finding'"):
        read(folder, "path,finding\na.png,x\n", label_column="finging")


def test_nothing_readable(folder):
    with pytest.raises(
        FileNotFoundError,
        match=r"none of its 2 rows.*2 rows, the first x\.png \(row 2\): the file is missing",
    ):
        read(folder, "path,label\nx.png,a\ny.png,a\n")


@pytest.mark.parametrize("where", ["beside", "elsewhere"])
def test_round_trip(folder, where):
    films = (
        Record("a.png", ("x", "y"), patient_id="p", group_id="g", source="s", view="PA", split="train", age_years=58.0),
        Record("sub/c.png", ('z, quoted "w"',), patient_id="=1+1", sex="F", attributes={"note": "-x"}),
    )
    films = tuple(Record(**{**fields_of(f), "attributes": {"note": "", **f.attributes}}) for f in films)
    path = folder / ("m.csv" if where == "beside" else "runs/m.csv")
    write_manifest(Records(films, folder), path, header={"seed": 3})
    again = read_dataset("manifest", path)
    assert again.films == films
    assert again.data_hash == Records(films, folder).data_hash
    header = json.loads(path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))
    assert (header["seed"], header["hash"]) == (3, again.data_hash)
    assert ("root_key" in header) == (where == "elsewhere")
    assert any("paths start from" in note for note in again.notes) == (where == "elsewhere")


def fields_of(film):
    return {name: getattr(film, name) for name in Record.__dataclass_fields__}


def test_unknown_reader():
    with pytest.raises(ValueError, match=r"unknown reader 'manifset' \(did you mean 'manifest'\?\)"):
        read_dataset("manifset", "x.csv")
    assert {"manifest", "image_folder"} <= set(READERS)


ODD = (
    "a,b",
    'say "x"',
    "two\nlines",
    "cr\rhere",
    "crlf\r\nhere",
    "  blanks ",
    "=1+1",
    "é ü \u2028 漢",
    "'",
    "\t",
    "#",
    "# x",
)


def test_round_trip_of_odd_cells_and_colliding_columns(folder):
    names = (
        "finding",
        "label",
        "path",
        "Label",
        "patientid",
        "class",
        "age_years",
        "",
        "a,b",
        "two\nlines",
        "group_id",
    )
    films = tuple(
        Record(
            path, ("x",), patient_id=f"p{n}", attributes={name: ODD[(n + k) % len(ODD)] for k, name in enumerate(names)}
        )
        for n, path in enumerate(("a.png", "b.png", "sub/c.png", "é ü.png"))
    )
    for name in ODD:
        write_manifest(Records(films, folder), folder / "m.csv", header={"note": name})
        assert read_dataset("manifest", folder / "m.csv").films == films
    write_manifest(read_dataset("manifest", folder / "m.csv"), folder / "again.csv", header={"note": ODD[-1]})
    assert (folder / "again.csv").read_bytes() == (folder / "m.csv").read_bytes()


def test_a_label_beside_the_chosen_one_survives(folder):
    records = read(
        folder, "path,label,finding,patient_id,mrn\na.png,7,x,q,m\n", label_column="finding", patient_column="mrn"
    )
    assert records[0].attributes == {"label": "7", "patient_id": "q"}
    write_manifest(records, folder / "m.csv")
    assert read_dataset("manifest", folder / "m.csv").films == records.films


def test_ages_that_cannot_be_read_are_kept_as_they_stand_and_told(folder):
    records = read(folder, "path,label,age_years\na.png,x,61.5\nb.png,x,adult\nsub/c.png,x,nan\n")
    assert [film.age_years for film in records] == [61.5, None, None]
    assert [film.attributes["age_years"] for film in records] == ["", "adult", "nan"]
    assert "1 ages cannot be read ('adult'): unknown, kept as an attribute" in records.notes
    write_manifest(records, folder / "m.csv")
    assert read_dataset("manifest", folder / "m.csv").films == records.films


@pytest.mark.parametrize(
    ("cell", "years"), [("058Y", 58.0), ("63,5", 63.5), ("18M", 1.5), ("45 years", 45.0), ("0", 0.0)]
)
def test_ages_as_headers_and_commas_write_them(folder, cell, years):
    records = read(folder, f'path,label,age_years\na.png,x,"{cell}"\n')
    assert (records[0].age_years, records[0].attributes) == (years, {})
    assert not any("ages" in note for note in records.notes)


@pytest.mark.parametrize("cell", ["411", "-3", ">89", "inf"])
def test_ages_of_nobody_are_unknown(folder, cell):
    records = read(folder, f"path,label,age_years\na.png,x,{cell}\n")
    assert records[0].age_years is None
    assert f"1 ages cannot be read ({cell!r}): unknown, kept as an attribute" in records.notes


def test_names_with_blanks_and_backslashes(folder):
    for name in (" lead.png", "trail .png", "back\\slash.png", "sub/ c.png"):
        (folder / name).write_bytes(b"film")
    films = tuple(Record(name, ("x",)) for name in (" lead.png", "trail .png", "back\\slash.png", "sub/ c.png"))
    write_manifest(Records(films, folder), folder / "m.csv")
    assert [f.path for f in read_dataset("manifest", folder / "m.csv")] == [f.path for f in films]
    assert read(folder, "path,label\nsub\\c.png ,x\n")[0].path == "sub/c.png"
    with pytest.raises(ValueError, match=r"row 2: \.\./a\.png leaves the data root"):
        read(folder, "path,label\n..\\a.png,x\n", root=folder / "sub")


@pytest.mark.parametrize("name", ["a|b", " a", ""])
def test_a_finding_that_a_manifest_cannot_hold(folder, name):
    with pytest.raises(ValueError, match=r"a\.png: a manifest cannot hold the finding"):
        write_manifest(Records((Record("a.png", (name,)),), folder), folder / "m.csv")
    assert not (folder / "m.csv").exists()


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_line_ends(folder, ending, encoding):
    text = ending.join(('# {"seed": 1}', "path\tlabel\tnote", "a.png\tx\t1", "", "b.png\ty\t2", ""))
    records = read(folder, text, encoding=encoding)
    assert [(f.path, f.finding, f.attributes["note"]) for f in records] == [("a.png", "x", "1"), ("b.png", "y", "2")]


def test_columns_of_one_name_are_all_kept(folder):
    film = read(folder, "path,label,note,note,note\na.png,x,1,2,3\n")[0]
    assert film.attributes == {"note": "1", "note (2)": "2", "note (3)": "3"}


def test_the_exact_name_goes_first(folder):
    assert read(folder, "path,LABEL,label\na.png,x,y\n", label_column="label")[0].finding == "y"


def test_an_unquoted_comma_is_a_problem_of_its_row(folder):
    records = read(folder, "path,label\na.png,x,\nb.png,mass, left\n")
    assert [film.path for film in records] == ["a.png"]
    assert records.problems[0].reason == "the row has 3 cells, the header names 2 columns"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"films\.csv has no first line; a header"),
        (b"\npath,label\na.png,x\n", r"films\.csv has no first line"),
        (b'path,label\na.png,"x\nb.png,y\n', r"films\.csv is no CSV that can be read: .*a quote that is not closed"),
        (b"PK\x03\x04\0\0\0", r"films\.csv is no text file; save the table as CSV"),
    ],
)
def test_what_is_no_table(folder, content, message):
    (folder / "films.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_dataset("manifest", folder / "films.csv")


def test_row_numbers_count_the_lead_lines(folder):
    with pytest.raises(FileNotFoundError, match=r"gone\.png \(row 3\): the file is missing"):
        read(folder, '# {"seed": 1}\npath,label\ngone.png,x\n')


def test_no_such_manifest(folder):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: no such file"):
        read_dataset("manifest", folder / "gone.csv")


def test_a_misspelt_option_is_pythons_own_error(folder):
    with pytest.raises(TypeError, match="labelcolumn"):
        read(folder, "path,label\na.png,x\n", labelcolumn="label")


@pytest.mark.slow
def test_100000_rows_in_a_few_seconds(folder):
    films = folder / "films"
    films.mkdir()
    (films / "0.png").write_bytes(b"film")
    for number in range(1, 20_000):
        os.link(films / "0.png", films / f"{number}.png")
    rows = "".join(f"films/{number % 20_000}.png,x,p{number % 20_000}\n" for number in range(100_000))
    (folder / "films.csv").write_text("path,label,patient_id\n" + rows, encoding="utf-8")
    start = time.process_time()
    records = read_dataset("manifest", folder / "films.csv")
    assert time.process_time() - start < 6  # about 2; 3.8 beside much other work
    assert (len(records), len(records.problems)) == (20_000, 80_000)


def test_three_class_set_is_read_whole(fscxr_data):
    records = read_dataset("manifest", fscxr_data / "cxr3" / "metadata.csv")
    assert (len(records), len(records.problems)) == (1124, 0)
    assert len({film.group for film in records}) == 764


def test_a_file_in_two_splits_is_refused_where_splits_are_used(folder):
    rows = "path,label,split\na.png,x,train\nb.png,y,train\na.png,x,test\n"
    with pytest.raises(ValueError, match=r"films\.csv, row 4: a\.png: its rows name different splits: test, train"):
        read(folder, rows)
    assert len(read(folder, rows, allow_leak=True)) == 2


def test_splits_are_known_in_any_case(folder):
    records = read(folder, "path,label,split\na.png,x,TRAIN\nb.png,y,Valid\n")
    assert [film.split for film in records] == ["train", "val"]


def test_what_nobody_looked_for_comes_back(folder):
    rows = (Record("a.png", ("mass",), unstated=("hernia", "edema")), Record("b.png", ("hernia",)))
    write_manifest(Records(rows, folder), folder / "out.csv")
    assert read_dataset("manifest", folder / "out.csv").films == rows
    assert READERS["manifest"](folder / "out.csv").data_hash == Records(rows, folder).data_hash


def test_the_column_unstated_is_there_only_where_it_is_needed(folder):
    def written(**fields):
        write_manifest(Records((Record("a.png", ("mass",), **fields),), folder), folder / "out.csv")
        return (folder / "out.csv").read_text().splitlines()[1].split(",")

    assert "unstated" not in written()
    assert written(unstated=("edema",))[-1] == "unstated"
    # An attribute of that name must not be taken for the column when the manifest is read.
    assert written(attributes={"Unstated": "x"})[-2:] == ["unstated", "Unstated"]
    assert read_dataset("manifest", folder / "out.csv")[0].unstated == ()


def test_a_finding_that_is_unstated_too_leaves_the_row_out(folder):
    records = read(folder, "path,label,unstated\na.png,mass|edema,hernia| edema\nb.png,mass,hernia\n")
    assert [film.unstated for film in records] == [("hernia",)]
    assert records.problems[0].reason == "the row names 'edema' as a finding and as unstated"


def test_an_unstated_finding_needs_a_name_that_can_be_written(folder):
    films = Records((Record("a.png", ("mass",), unstated=("a|b",)),), folder)
    with pytest.raises(ValueError, match=r"a manifest cannot hold the finding 'a\|b'"):
        write_manifest(films, folder / "out.csv")
