"""What every reader promises; a new line in READERS is tested the day it is written."""

import re

import pytest
from made_layouts import FOLDERS_ONLY, LAYOUTS, N_PASSED_OVER, N_PATIENTS, N_ROWS

from fewshot_cxr.data import READERS, read_dataset, summarise, verify_films, write_manifest
from fewshot_cxr.records import Records


@pytest.fixture(params=sorted(READERS))
def place(request, tmp_path):
    assert request.param in LAYOUTS, "write down how a small set for this reader is laid out"
    root = tmp_path / "set"
    root.mkdir()
    return request.param, LAYOUTS[request.param](root)


@pytest.mark.parametrize("as_text", [False, True])
def test_readable_films_and_named_problems(place, as_text):
    name, path = place
    records = read_dataset(name, str(path) if as_text else path)
    assert isinstance(records, Records)
    kinds = ["missing", "unreadable"][name in FOLDERS_ONLY :]
    assert [problem.kind for problem in records.problems] == kinds
    assert records.notes
    assert all(records.file(film).is_file() for film in records)
    assert all("\\" not in film.path and not film.path.startswith("/") for film in records)


def test_every_row_is_accounted_for(place):
    report = summarise(verify_films(read_dataset(*place)))
    assert report["n_rows"] == N_ROWS[place[0]]
    assert len(report["unreadable"]) == 2
    assert sum(count >= N_PATIENTS for count in report["by_finding"].values()) == len(report["by_finding"])
    n_passed_over = N_PASSED_OVER.get(place[0], 0)
    n_left_out = sum(len(report[kind]) for kind in ("missing", "unreadable", "duplicates", "other_problems"))
    assert report["n_rows"] == report["n_records"] + n_left_out + n_passed_over


def test_reading_twice_gives_the_same(place):
    first, second = (read_dataset(*place) for _ in range(2))
    assert first == second


def test_what_was_read_can_be_written_and_read_again(place, tmp_path):
    records = read_dataset(*place)
    write_manifest(records, tmp_path / "again" / "m.csv")
    again = read_dataset("manifest", tmp_path / "again" / "m.csv")
    assert [film.path for film in again] == [film.path for film in records]
    for name in ("findings", "patient_id", "group_id", "source", "view", "split", "mask_path", "age_years", "sex"):
        assert [getattr(film, name) for film in again] == [getattr(film, name) for film in records]
    for one, other in zip(again, records, strict=True):
        assert {key: text for key, text in one.attributes.items() if text} == {
            key: text for key, text in other.attributes.items() if text
        }
    assert again.root.resolve() == records.root.resolve()


@pytest.mark.parametrize("name", sorted(READERS))
def test_nothing_there(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone: no such"):
        read_dataset(name, tmp_path / "gone")


@pytest.mark.parametrize("name", sorted(set(READERS) - {"manifest"}))
def test_a_wrong_root_says_what_was_expected_and_found(name, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(FileNotFoundError, match=f"{re.escape(str(tmp_path))}.*expected .*found holiday.*notes.txt"):
        read_dataset(name, tmp_path)


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_misspelt_option_is_an_error(name, tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'vresion'"):
        read_dataset(name, tmp_path, vresion="1")


def test_no_table_leads_out_of_its_root(place, tmp_path):
    """Each name of a film in a table is made to lead to a film beside the root."""
    name, path = place
    if name in (*FOLDERS_ONLY, "covid19_radiography", "mimic_cxr_jpg"):  # packed, or nothing in it is a path
        return
    table = next(
        file
        for file in sorted(tmp_path.rglob("*"))
        if file.suffix in (".csv", ".txt") and "class_info" not in file.name
    )
    text = table.read_text(encoding="utf-8")
    by_id = name in ("rsna_pneumonia", "siim_acr", "vindr_cxr")
    film = re.search(r"(?<=\n)[^,]+" if by_id else r"[\w()/.-]+\.(png|jpe?g)", text)[0]
    table.write_text(text.replace(film, f"../../../secret{'' if by_id else '.png'}"), encoding="utf-8")
    (tmp_path / "secret.png").write_bytes(b"film")
    # Refused, or looked up by its bare name, which is nowhere below the root.
    assert re.search(
        r"leaves the data root|(missing|other): (.*/)?secret\.(png|dcm)$", _outcome(name, path), re.MULTILINE
    )


def _outcome(name, path):
    try:
        records = read_dataset(name, path)
    except ValueError as error:
        return str(error)
    return "\n".join(f"{problem.kind}: {problem.path}" for problem in reversed(records.problems))


def test_a_column_of_too_many_findings_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"film")
    for n_findings in (2_000, 2_001):
        (tmp_path / "m.csv").write_text(f"path,label\na.png,{'|'.join(map(str, range(n_findings)))}\n")
        if n_findings == 2_000:
            assert len(read_dataset("manifest", tmp_path / "m.csv").findings) == n_findings
    with pytest.raises(ValueError, match="m.csv has 2,001 different findings, at most 2,000 .*: name the column that"):
        read_dataset("manifest", tmp_path / "m.csv")
