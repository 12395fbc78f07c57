"""`fscxr data audit`: table, JSON, page, and the exit code that a pipeline can gate on."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from command_line import run
from made_goldens import save_networks
from PIL import Image

from fewshot_cxr.data import read_dataset, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import Audit
from fewshot_cxr.records import Records


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Films with a hand-made fault of each kind: a leak, an exact and a saved-anew copy, a black film, a broken one."""
    folder = tmp_path_factory.mktemp("audit")
    films = make_synthetic(folder, n_patients=6, findings=("normal", "effusion"), size_px=128)
    root = films.root
    first, second = films[0], films[1]
    shutil.copy(films.file(first), root / "exact.png")
    Image.open(films.file(second)).resize((96, 96)).save(root / "<i>anew.jpg", quality=80)
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(root / "black.png")
    (root / "broken.png").write_bytes(films.file(first).read_bytes()[:300])
    lines = ["path,label,patient_id,split"]
    lines += [f"{film.path},{film.finding},{film.patient_id},train" for film in films[:-1]]
    lines += [f"{films[-1].path},{films[-1].finding},{films[0].patient_id},test"]
    lines += ["exact.png,normal,other,test", "<i>anew.jpg,normal,another,test", "black.png,normal,p8,train"]
    (root / "films.csv").write_text("\n".join([*lines, "broken.png,normal,p9,train"]), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def audited(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert run("data", "audit", place / "films.csv", "--json", out / "a.json", "--html", out / "a.html") == 0
    return out


def test_the_json_names_every_planted_fault(audited, place):
    value = json.loads((audited / "a.json").read_text(encoding="utf-8"))
    audit = Audit.from_json(value)
    assert {"near_duplicates", "exact_duplicates", "contradictory_patients", "leaks", "confounding", "films"} <= set(
        value
    )
    assert set(value["near_duplicates"][0]) == {"a", "b", "hamming", "correlation", "same_patient", "same_label"}
    films = read_dataset("manifest", place / "films.csv", allow_leak=True)
    pairs = {frozenset((pair.a, pair.b)) for pair in audit.near_duplicates}
    assert {frozenset((films[0].path, "exact.png")), frozenset((films[1].path, "<i>anew.jpg"))} <= pairs
    assert [set(group.paths) for group in audit.exact_duplicates] == [{films[0].path, "exact.png"}]
    assert films[0].patient_id in {leak.name for leak in audit.leaks if leak.by == "patient"}
    assert audit.films.marks["constant"] == ("black.png",)
    assert [film.path for film in audit.films.unreadable] == ["broken.png"]


def test_the_page_shows_the_films_and_escapes_their_names(audited):
    page = (audited / "a.html").read_text(encoding="utf-8")
    assert page.count("<h1>") == 1
    assert "&lt;i&gt;anew.jpg" in page
    assert "<i>anew" not in page
    assert len(re.findall(r'<img src="data:image/png;base64,[^"]+" width="\d+" height="\d+" alt="[^"]+">', page)) >= 3
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_the_terminal_shows_every_check(place, capsys):
    assert run("data", "audit", place / "films.csv", "--fail-on", "inverted") == 0
    shown = capsys.readouterr()
    for name in ("leak", "near_duplicates", "possible_duplicates", "confounding", "burnt_in_text"):
        assert name in shown.out
    assert "left out" in shown.err or "note" in shown.err


@pytest.mark.parametrize(("checks", "failed"), [("leak,duplicates", "leak, duplicates"), ("unreadable", "unreadable")])
def test_fail_on_leaves_with_code_3_after_writing(place, tmp_path, capsys, checks, failed):
    assert run("data", "audit", place / "films.csv", "--fail-on", checks, "--json", tmp_path / "a.json") == 3
    assert (tmp_path / "a.json").is_file()
    assert f"failed: {failed} (--fail-on)" in capsys.readouterr().err


def test_an_unknown_check_is_refused_before_any_film_is_read(place, capsys):
    assert run("data", "audit", place / "films.csv", "--fail-on", "leaks") == 2
    assert "unknown check 'leaks' (did you mean 'leak'?)" in capsys.readouterr().err


def test_a_clean_split_passes_its_gate(tmp_path):
    films = make_synthetic(tmp_path, n_patients=6, findings=("normal", "effusion"), size_px=96)
    write_manifest(films, tmp_path / "films.csv")
    assert run("data", "split", tmp_path / "films.csv", "--out", tmp_path / "split.csv") == 0
    assert run("data", "audit", tmp_path / "split.csv", "--fail-on", "leak,exact_duplicates,unreadable") == 0


def test_a_leaking_manifest_is_refused_where_its_splits_are_used(place, tmp_path, capsys):
    data = ("--data", place / "films.csv", "--image-size", 32, "--epochs", 1, "--out", tmp_path / "run")
    assert run("train", "siamese", *data) == 2
    assert "split by patient (fscxr data split)" in capsys.readouterr().err
    assert run("data", "split", place / "films.csv", "--out", tmp_path / "split.csv") == 0
    assert isinstance(read_dataset("manifest", tmp_path / "split.csv"), Records)


def test_two_manifests_are_two_splits_of_the_same_patients(tmp_path, capsys):
    films = make_synthetic(tmp_path, n_patients=8, findings=("normal", "effusion"), size_px=64)
    halves = {"train": films[::2], "test": films[1::2]}
    for name, half in halves.items():
        write_manifest(half, tmp_path / f"{name}.csv")
    both = (tmp_path / "train.csv", tmp_path / "test.csv")
    assert run("data", "audit", *both, "--fail-on", "leak", "--json", tmp_path / "a.json") == 3
    leaks = json.loads((tmp_path / "a.json").read_text())["leaks"]
    assert {tuple(sorted(leak["splits"])) for leak in leaks} == {("test", "train")}
    told = r"patient ids in several of train, test: \d+, such as p0000; each is taken for one patient"
    assert re.search(told, capsys.readouterr().err)


def test_one_file_in_two_splits_or_with_two_findings_is_told(place, tmp_path):
    for film, name in zip(sorted((place / "films" / "normal").glob("*.png")), ("a.png", "b.png"), strict=False):
        shutil.copy(film, tmp_path / name)
    rows = "path,label,patient_id,split\na.png,normal,p0,train\na.png,{0},p0,{1}\nb.png,normal,p1,train\n"
    (tmp_path / "split.csv").write_text(rows.format("normal", "test"), encoding="utf-8")
    assert run("data", "audit", tmp_path / "split.csv", "--fail-on", "leak") == 3
    (tmp_path / "finding.csv").write_text(rows.format("effusion", "train"), encoding="utf-8")
    assert run("data", "audit", tmp_path / "finding.csv", "--fail-on", "contradictory") == 3


def test_manifests_of_one_name_are_told_apart_by_their_folders(tmp_path):
    films = make_synthetic(tmp_path, n_patients=8, findings=("normal", "effusion"), size_px=64)
    for name, half in {"train": films[::2], "test": films[1::2]}.items():
        write_manifest(half, tmp_path / name / "films.csv")
    both = [tmp_path / name / "films.csv" for name in ("train", "test")]
    assert run("data", "audit", *both, "--fail-on", "leak", "--json", tmp_path / "a.json") == 3
    assert set(json.loads((tmp_path / "a.json").read_text())["films"]["by_split"]) == {"train/films", "test/films"}


def test_an_empty_gate_is_refused(place, capsys):
    assert run("data", "audit", place / "films.csv", "--fail-on", ",") == 2
    assert "--fail-on ',' names nothing" in capsys.readouterr().err


def test_a_needle_of_a_film_breaks_no_page(tmp_path):
    for name, shape in (("a.png", (1, 3000)), ("b.png", (3000, 1))):
        Image.fromarray(np.full(shape, 9, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "films.csv").write_text("path,label\na.png,x\nb.png,y\n", encoding="utf-8")
    assert run("data", "audit", tmp_path / "films.csv", "--html", tmp_path / "a.html") == 0
    assert (tmp_path / "a.html").stat().st_size < 200_000


@pytest.mark.parametrize(
    ("patients", "code", "told"),
    [
        ((None,) * 6, 3, "the patients of 6 of 6 films are unknown"),
        (("p1", "p2", "p3", "p4", "p5", None), 3, "the patients of 1 of 6 films are unknown"),
        (("p1", "p2", "p3", "p4", "p5", "p6"), 0, ""),
    ],
)
def test_a_gate_on_leaks_needs_to_know_the_patients(tmp_path, capsys, patients, code, told):
    films = make_synthetic(tmp_path, n_patients=3, findings=("normal", "effusion"), size_px=64)
    splits = ("train", "test") * 3
    some = [
        replace(film, patient_id=patient, split=split)
        for film, patient, split in zip(films[:6], patients, splits, strict=True)
    ]
    write_manifest(Records(tuple(some), films.root), tmp_path / "split.csv")
    assert run("data", "audit", tmp_path / "split.csv", "--fail-on", "leak,contradictory") == code
    shown = capsys.readouterr()
    assert (f"cannot be assessed: leak, contradictory (--fail-on): {told}" in shown.err) == bool(told)
    told_in_table = {6: "cannot be assessed: patients unknown", 1: "patients unknown for 1 of 6 films", 0: "0 patients"}
    rows = sorted(line for line in shown.out.splitlines() if re.match(r"\W*(leak|contradictory) ", line))[::-1]
    assert len(rows) == 2
    assert told_in_table[patients.count(None)] in rows[1]
    assert ("0 leaks between splits" in rows[0]) == (None not in patients[:5])
    assert run("data", "audit", tmp_path / "split.csv", "--fail-on", "leak", "--allow-unknown-patients") == 0


def test_no_gate_on_leaks_where_there_is_no_split(tmp_path):
    films = make_synthetic(tmp_path, n_patients=2, findings=("normal", "effusion"), size_px=64)
    write_manifest(films.each(lambda film: replace(film, patient_id=None)), tmp_path / "films.csv")
    assert run("data", "audit", tmp_path / "films.csv", "--fail-on", "leak") == 0


@pytest.mark.usefixtures("unpainted")
def test_an_encoder_is_asked_what_it_tells(place, tmp_path, capsys):
    save_networks(tmp_path)
    out = tmp_path / "a.json"
    flags = ("--checkpoint", tmp_path / "run", "--json", out, "--html", tmp_path / "a.html", "--device", "cpu")
    assert run("data", "audit", place / "films.csv", *flags) == 0
    said = capsys.readouterr()
    audit = Audit.from_json(json.loads(out.read_text()))
    assert said.out.splitlines()[0].startswith(audit.embedding.first_line[:40])
    plain = audit.to_json()
    with pytest.raises(ValueError, match=r"no whole audit: embedding.tells.source is missing"):
        Audit.from_json(plain | {"embedding": {**plain["embedding"], "tells": {}}})
    assert set(audit.embedding.tells) == {"finding", "source", "view", "age", "sex"}
    page = (tmp_path / "a.html").read_text()
    assert "Is it the disease or the hospital?" in page
    assert run("report", out, "--out", tmp_path / "report.html") == 0
    assert "source told from the embedding of run" in (tmp_path / "report.html").read_text()
