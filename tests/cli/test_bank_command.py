"""`fscxr bank` and `fscxr predict --bank`: the story, wrong uses, and what the files do not say."""

import csv
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from command_line import run
from made_banks import KNOWN, NEW, lay_bank_films, save_network
from made_bombs import BOMBS
from made_hostile import cuts, whole_dicoms, whole_pictures, zero_tails

from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.inference import deciding
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.inference.bank.answer import ABSTAINED, COLUMNS
from fewshot_cxr.inference.bank.exemplar_table import hashed

MARK = "quokka"
PATTERN = ("--patient-pattern", r"(p\d+)_")


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """Films of known findings and of a new one, an encoder, and a bank beside it, below a folder of an odd name."""
    base = tmp_path_factory.mktemp("place") / f"o'hara & {MARK}"
    films = lay_bank_films(base / "drawn", n_known=16, n_new=4)
    for film in films:
        to = base / ("five" if film.finding == NEW else "known") / ("" if film.finding == NEW else film.finding)
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(films.root / film.path, to)
    save_network(base / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        built = ("--checkpoint", "run", "--data", "known", *PATTERN, "--n-exemplars", 10, "--thumbnails")
        assert run("bank", "build", *built, "--out", "clinic.bank") == 0
    return base


@pytest.fixture
def place(laid, tmp_path, monkeypatch):
    """The place, with a fresh copy of the bank, and a folder for what is written."""
    monkeypatch.chdir(laid)
    monkeypatch.setenv("HOME", str(laid))
    (tmp_path / "run").symlink_to(laid / "run")
    shutil.copy("clinic.bank", tmp_path / "clinic.bank")
    return SimpleNamespace(base=laid, bank=tmp_path / "clinic.bank", out=tmp_path)


@pytest.fixture
def said(capsys):
    """Call a command; return its exit code and all that it printed."""

    def call(*arguments):
        capsys.readouterr()
        code = run(*arguments)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_the_story(place, said):
    bank, table = place.bank, place.out / "answers.csv"
    code, out, err = said("bank", "add", bank, NEW, "five", *PATTERN, "--json", place.out / "bank.json")
    assert code == 0
    assert all(name in out for name in (*KNOWN, NEW))
    assert f"written: {bank} (next: fscxr predict FILMS --bank {bank})" in err
    told = json.loads((place.out / "bank.json").read_text())
    assert [(one["finding"], one["n_patients"]) for one in told["findings"]] == [
        (NEW, 4),
        ("effusion", 10),
        ("normal", 10),
    ]
    answers = place.out / "answers.json"
    code, out, err = said("predict", "known", "five", "--bank", bank, "--csv", table, "--json", answers)
    assert code == 0
    rows, found = rows_of(table), json.loads(answers.read_text())
    assert list(rows[0]) == list(COLUMNS)
    assert [row["path"] for row in rows] == [one["path"] for one in found]
    assert {row["answer"] for row in rows} <= {*KNOWN, NEW, ABSTAINED}
    assert all(row["finding"] in (*KNOWN, NEW) for row in rows)
    n_answered = sum(row["answer"] != ABSTAINED for row in rows)
    assert f"{len(rows)} films: {n_answered} answered; abstained: " in err
    assert f"written: {table}" in err
    assert "Answers" in out

    code, out, err = said("bank", "show", bank, "--exemplars")
    assert code == 0
    assert "calibration: on support" in err
    assert f"{NEW}: 11 exemplars of 4 patients" in err
    assert out.count(".png") == 31

    names = sorted({file.name.partition("_")[0] for file in place.base.glob("known/*/*.png")})
    name = next(one for one in names if hashed(one) in SupportBank.load(bank).table.patients)
    code, out, err = said("bank", "remove", bank, "--patient", name, "--json", place.out / "less.json")
    assert code == 0
    assert "receipt: 1 film of one patient went; the bank was " in err
    told = (place.out / "less.json").read_text()
    assert json.loads(told)["receipt"]["n_films"] == 1
    assert name not in told + out
    assert hashed(name) not in SupportBank.load(bank).table.patients
    code, out, err = said("bank", "remove", bank, "--finding", NEW)
    assert code == 0
    assert "receipt: " in err
    assert "films of one finding went; the bank was " in err


def test_answers_of_python_and_shell_agree(place, said):
    assert said("predict", "five", "--bank", place.bank, "--json", "-")[0] == 0
    found = json.loads(said("predict", "five", "--bank", place.bank, "--json", "-")[1])
    files = sorted((place.base / "five").glob("*.png"))
    expected = SupportBank.load(place.bank).predict(files)
    for one, other in zip(found, expected, strict=True):
        assert one["path"] == f"five/{other.path.rpartition('/')[2]}"
        assert (one["answer"], one["reason"], one["set"]) == (other.answer, other.reason, list(other.fitting))


def test_an_index_answers_as_measuring_does(place, said, monkeypatch):
    plain, indexed, other = (place.out / f"{name}.csv" for name in ("plain", "indexed", "other"))
    assert "by NearestIndex" not in said("predict", "five", "--bank", place.bank, "--csv", plain)[2]
    code, _, err = said("predict", "five", "--bank", place.bank, "--csv", indexed, "--index", "hnsw")
    assert code == 0
    assert "the nearest exemplars: by NearestIndex(20 vectors, euclidean, hnsw, effort 32, recall@10 1)" in err
    assert indexed.read_text() == plain.read_text()
    monkeypatch.setattr(deciding, "INDEXED_FROM", 5)
    assert "vectors, euclidean, exact)" in said("predict", "five", "--bank", place.bank, "--csv", other)[2]
    assert other.read_text() == plain.read_text()


def test_films_of_one_name_from_two_folders_are_told_apart(place, said):
    films = sorted((place.base / "five").glob("*.png"))
    for folder, film in zip(("first", "second"), films, strict=False):
        (place.out / folder).mkdir()
        shutil.copy(film, place.out / folder / "film.png")
        assert said("bank", "add", place.bank, NEW, place.out / folder)[0] == 0
    _, _, err = said("bank", "remove", place.bank, "--film", "film.png")
    names = err.strip().partition("2 films are called film.png: name one of them, ")[2].split(" or ")
    assert len(names) == 2, err
    _, out, _ = said("bank", "show", place.bank, "--exemplars", "--json", place.out / "shown.json")
    assert all(name in out for name in names)
    _, _, err = said("predict", films[0], "--bank", place.bank, "--csv", place.out / "a.csv", "--never-abstain")
    with (place.out / "a.csv").open(newline="") as opened:
        assert next(csv.DictReader(opened))["nearest"] in names
    code, _, err = said("bank", "remove", place.bank, "--film", names[0])
    assert (code, "receipt: 1 film went; the bank was " in err) == (0, True)
    assert SupportBank.load(place.bank).table.names.count("film.png") == 1


def test_calibration_on_films_kept_apart(place, said):
    held = set(SupportBank.load(place.bank).table.patients)
    rest = place.out / "rest"
    for file in place.base.glob("known/*/*.png"):
        if hashed(file.name.partition("_")[0]) not in held:
            (rest / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, rest / file.parent.name)
    code, _, err = said("bank", "calibrate", place.bank, "--data", rest, *PATTERN, "--level", 0.8)
    assert code == 0
    assert "calibration: on films" in err
    assert "% on average; with" in err
    film = next((place.base / "five").glob("*.png"))
    assert said("predict", film, "--bank", place.bank, "--prevalence", "effusion=0.1", "--details")[0] == 0
    assert said("bank", "add", place.bank, NEW, "five", *PATTERN)[0] == 0
    err = said("bank", "show", place.bank)[2]
    assert "stale, since exemplars changed: calibrate again on films kept apart" in err
    code, _, err = said("bank", "calibrate", place.bank, "--data", "known", *PATTERN)
    assert code == 2
    assert err.startswith("fscxr: error: ")
    assert "patients have exemplars in the bank and films to calibrate on, too" in err


def test_banks_are_merged(place, said):
    films = ("--data", "known", *PATTERN, "--n-exemplars", 5)
    other, both = place.out / "other.bank", place.out / "both.bank"
    built = ("bank", "build", "--checkpoint", "run", *films, "--seed", 1, "--thumbnails", "--out", other)
    assert said(*built)[0] == 0
    assert said("bank", "merge", place.bank, other, "--out", both)[0] == 0
    first, second = SupportBank.load(place.bank), SupportBank.load(other)
    assert SupportBank.load(both) == second.merge(first)
    kept = both.read_bytes()
    code, _, err = said("bank", "merge", place.bank, "run/encoder.safetensors", "--out", both)
    assert code == 2
    assert "encoder.safetensors" in err.splitlines()[-1]
    assert both.read_bytes() == kept


def test_a_merge_holds_the_bank_that_it_writes_from_its_first_look_on(place, said, monkeypatch):
    def written():
        with only_writer(place.bank, is_folder=False):
            pass

    def merged(self, other):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(written).result()
        return self

    before = place.bank.read_bytes()
    monkeypatch.setattr(SupportBank, "merge", merged)
    code, _, err = said("bank", "merge", place.bank, place.bank, "--out", place.bank)
    assert (code, "is being written by process" in err) == (1, True), err
    assert place.bank.read_bytes() == before


def test_what_is_removed_is_in_no_bank_of_before(place, said):
    kept = place.bank.with_name(f"{place.bank.name}.changes") / "1.bank"
    kept.parent.mkdir()
    kept.write_bytes(place.bank.read_bytes())
    (film,) = SupportBank.load(place.bank).table.names[:1]
    assert said("bank", "remove", place.bank, "--film", film, "--out", place.out / "less.bank")[0] == 0
    assert kept.exists()  # the bank itself still holds the film, too
    assert said("bank", "remove", place.bank, "--film", film)[0] == 0
    assert not kept.exists()


def test_films_are_named_by_lists_patterns_and_folders(place, said, monkeypatch):
    films = sorted(str(file.relative_to(place.base)) for file in (place.base / "five").glob("*.png"))

    def asked(*names):
        code, out, _ = said("predict", *names, "--bank", place.bank, "--json", "-")
        assert code == 0
        return [one["path"] for one in json.loads(out)]

    assert asked("five") == asked("five/*.png") == asked("fiv*/**/*.png") == films
    assert asked(films[2], "five", films[2]) == [films[2], *films[:2], *films[3:]]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(films[:3]) + "\n\n"))
    assert asked("-", films[5]) == [*films[:3], films[5]]


@pytest.mark.slow
def test_malformed_films_cost_one_row_each(place, said):
    """benchmarks/faults.py --only "bank: malformed" asks about 1,000 of them."""
    folder, table = place.out / "new", place.out / "answers.csv"
    folder.mkdir()
    wholes = whole_pictures() | whole_dicoms()
    cheap = ("wide.png", "pixels.png", "itself.tif", "screen.gif", "nested.dcm", "frames.dcm", "blocks.j2k")
    damaged = {f"cut_{name}": list(cuts(content))[10] for name, content in wholes.items()}
    damaged |= {f"zeros_{name}": list(zero_tails(content))[2] for name, content in wholes.items()}
    damaged |= {f"empty_{name}": b"" for name in wholes} | {name: BOMBS[name]() for name in cheap}
    for name, content in damaged.items():
        (folder / name).write_bytes(content)
    film = next((place.base / "five").glob("*.png"))
    shutil.copy(film, folder / "whole.png")
    code, _, err = said("predict", folder, "--bank", place.bank, "--csv", table)
    with table.open(newline="") as opened:
        rows = {row["path"].rpartition("/")[2]: row for row in csv.DictReader(opened)}
    assert (code, sorted(rows)) == (0, sorted([*damaged, "whole.png"])), err
    assert all(row["reason"] if row["answer"] == ABSTAINED else row["finding"] for row in rows.values())
    assert rows["whole.png"]["reason"] != "unreadable"
    assert all(row["reason"] == "unreadable" for name, row in rows.items() if name.startswith("empty_"))


def test_a_film_that_cannot_be_read_costs_one_row(place, said):
    broken = place.out / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    film = next((place.base / "five").glob("*.png"))
    table = place.out / "answers.csv"
    code, _, err = said("predict", broken, film, "nowhere.png", "--bank", place.bank, "--csv", table)
    assert code == 0
    assert [row["reason"] == "unreadable" for row in rows_of(table)] == [True, False, True]
    assert "unreadable 2" in err


@pytest.mark.parametrize("names", [("broken.png",), ("nowhere.png", "broken.png"), ("-",), ("empty",)])
def test_where_nothing_is_readable_the_code_says_so(place, said, monkeypatch, names):
    monkeypatch.chdir(place.out)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (place.out / "broken.png").write_text("no film")
    (place.out / "empty").mkdir()
    code, _, err = said("predict", *names, "--bank", place.bank, "--csv", "answers.csv")
    assert code == 4
    assert {row["reason"] for row in rows_of(place.out / "answers.csv")} <= {"unreadable"}
    assert err.splitlines()[-1].startswith("fscxr: error: no film is readable: ")
    assert "Traceback" not in err


def test_no_cell_is_a_formula(place, said):
    films = sorted((place.base / "five").glob("*.png"))
    folder = place.out / "odd"
    folder.mkdir()
    names = ["=cmd.png", "+1.png", "-1.png", "@sum.png"]
    for name, film in zip(names, films, strict=False):
        shutil.copy(film, folder / name)
    assert said("bank", "add", place.bank, "=1+1", films[5], films[6])[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = said(
            "predict", *(f"./{name}" for name in names), "--bank", place.bank, "--never-abstain", "--csv", "a.csv"
        )[0]
    assert code == 0
    cells = [cell for row in rows_of(folder / "a.csv") for cell in row.values()]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@")]
    assert sorted(row["path"] for row in rows_of(folder / "a.csv")) == sorted(f"'{name}" for name in names)


def test_never_abstain_is_in_what_is_written(place, said):
    table, answers = place.out / "a.csv", place.out / "a.json"
    assert said("predict", "five", "--bank", place.bank, "--never-abstain", "--csv", table, "--json", answers)[0] == 0
    assert all(row["answer"] == row["finding"] for row in rows_of(table))
    forced = [one for one in json.loads(answers.read_text()) if one["reason"]]
    assert forced
    assert all("(--never-abstain)" in one["notes"][-1] for one in forced)


FILM = "five/a.png"
WRONG = {
    ("bank", "build", "--data", "known", "--out", "new.bank"): "say whose embeddings: --checkpoint RUN, or --encoder",
    (
        "bank",
        "build",
        "--encoder",
        "resnet9",
        "--data",
        "known",
        "--out",
        "new.bank",
    ): "random weights tell nothing: say",
    ("bank", "build", "--checkpoint", "run", "--data", "known"): "Missing option '--out'",
    (
        "bank",
        "build",
        "--checkpoint",
        "run",
        "--data",
        "known",
        "--out",
        "new.json",
    ): "no .json is written here, but .bank",
    (
        "bank",
        "build",
        "--checkpoint",
        "run",
        "--data",
        "known",
        "--rule",
        "laplacian_shot",
        "--out",
        "new.bank",
    ): "--rule",
    ("bank", "build", "--checkpoint", "run", "--data", "known", "--choice", "best", "--out", "new.bank"): "best",
    ("bank", "build", "--checkpoint", "run", "--data", "known", "--n-exemplars", "0", "--out", "new.bank"): "0",
    ("bank", "add", "nowhere.bank", "covid19", "five"): "nowhere.bank",
    ("bank", "add", "BANK", "covid19", "nowhere"): "nowhere",
    ("bank", "add", "BANK", "covid19"): "FILMS",
    ("bank", "remove", "BANK", "--out", "run/encoder.safetensors"): "encoder.safetensors",
    ("bank", "calibrate", "BANK", "--levle", "0.9"): "--levle",
    ("bank", "shwo", "BANK"): "no command 'shwo'",
    ("predict", FILM): "name a bank (--bank FILE), or an encoder and labelled films (--checkpoint, --support)",
    ("predict", FILM, "--bank", "BANK", "--support", "known"): "--support is of predictions without a bank",
    ("predict", FILM, "--bank", "nowhere.bank"): "nowhere.bank",
    ("predict", FILM, "--bank", "BANK", "--csv", "answers.xlsx"): "no .xlsx is written here, but .csv",
    ("predict", FILM, "--bank", "BANK", "--csv", "known.csv"): "known.csv",
    ("predict", FILM, "--bank", "BANK", "--rule", "prototype"): "--rule",
    ("predict", FILM, "--bank", "BANK", "--n-exemplars", "5"): "--n-exemplars",
    ("predict", FILM, "--bank", "BANK", "--seed", "5"): "--seed",
    (
        "predict",
        FILM,
        "--checkpoint",
        "run",
        "--support",
        "known",
        "--never-abstain",
    ): "--never-abstain is of a bank: name it (--bank)",
    (
        "predict",
        FILM,
        "--checkpoint",
        "run",
        "--support",
        "known",
        "--csv",
        "a.csv",
    ): "--csv is of a bank: name it (--bank)",
}


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
def test_wrong_uses_are_one_line_and_code_2(place, said, command):
    (place.base / "known.csv").write_text("name,age\nsomebody,40\n")
    before = place.bank.read_bytes()
    code, out, err = said(*(place.bank if word == "BANK" else word for word in command))
    assert code == 2, err
    lines = [line for line in err.splitlines() if line]
    assert WRONG[command] in lines[-1], err
    assert (out, place.bank.read_bytes()) == ("", before)
    assert not (place.base / "new.bank").exists()


REFUSED = {
    ("bank", "remove", "BANK"): "name what is to go: a finding, a film or a patient, one of them",
    ("bank", "remove", "BANK", "--patient", "p9999"): "nothing of that patient is in the bank",
    ("bank", "remove", "BANK", "--finding", "normal"): "a bank knows two findings or more, and fewer would be left",
    ("bank", "calibrate", "BANK", "--level", "2"): "level must be above 0 and below 1, such as 0.9, got 2.0",
    ("bank", "add", "BANK", "", "known/normal"): "a finding has a name of visible letters, such as covid19, got ''",
    ("bank", "add", "BANK", "a\nb", "known/normal"): "a finding has a name of visible letters",
    ("bank", "add", "BANK", "covid19", "known/normal"): "is covid19 here and normal in the bank: the same film",
    ("predict", "five", "--bank", "BANK", "--prevalence", "fever=0.1"): "fever",
    ("predict", "five", "--bank", "BANK", "--prevalence", "often"): "often",
}


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_what_cannot_be_is_one_line(place, said, command):
    before = place.bank.read_bytes()
    code, _, err = said(*(place.bank if word == "BANK" else word for word in command))
    assert code == 2
    assert REFUSED[command] in err.splitlines()[-1]
    assert "unforeseen" not in err
    assert place.bank.read_bytes() == before


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text", "encoder", "folder"])
def test_a_bank_that_is_none(place, said, damage):
    held = place.bank.read_bytes()
    spoilt = place.out / "spoilt.bank"
    at = len(held) // 2
    content = {"flipped": held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :], "cut": held[:at], "empty": b""}
    content |= {"text": b"no bank", "encoder": (place.base / "run" / "encoder.safetensors").read_bytes()}
    if damage == "folder":
        spoilt.mkdir()
    else:
        spoilt.write_bytes(content[damage])
    for command in (("bank", "show", spoilt), ("predict", "five", "--bank", spoilt)):
        code, out, err = said(*command)
        assert code in (1, 2)
        assert out == ""
        assert "spoilt.bank" in err.splitlines()[-1]
        assert "unforeseen" not in err


def test_what_is_written_names_no_patient_and_no_folder(place, said):
    """Files that lie outside of the working folder, named by whole paths, end in no file with their folders."""
    bank, out = place.bank, place.out
    whole = sorted(str(file) for file in (place.base / "five").glob("*.png"))
    assert said("bank", "add", bank, NEW, *whole[:4])[0] == 0
    ids = {file.name.partition("_")[0] for file in place.base.glob("known/*/*.png")}
    odd = out / "asked"
    odd.mkdir()
    shutil.copy(whole[5], odd / "film.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(odd)
        asked = ("predict", "film.png", *whole[6:9], "--bank", bank)
        assert said(*asked, "--csv", "a.csv", "--json", "a.json")[0] == 0
        assert said("bank", "show", bank, "--json", "bank.json")[0] == 0
        for file in (bank, odd / "a.csv", odd / "a.json", odd / "bank.json"):
            assert MARK.encode() not in file.read_bytes(), file.name
        assert [row["path"] for row in rows_of(odd / "a.csv")] == [
            "film.png",
            *(one.rpartition("/")[2] for one in whole[6:9]),
        ]
        assert said(*asked, "--csv", "kept.csv", "--keep-paths")[0] == 0
        assert MARK in (odd / "kept.csv").read_text()
    table = SupportBank.load(bank).table
    assert not ids & {*table.patients, *table.groups}
    assert not [one for one in ids if f'"{one}"'.encode() in bank.read_bytes()]


def test_an_encoder_elsewhere_is_named(place, said, monkeypatch):
    (place.out / "run").unlink()
    monkeypatch.chdir(place.out)
    film = next((place.base / "five").glob("*.png"))
    code, _, err = said("predict", film, "--bank", "clinic.bank")
    assert code in (1, 4)
    assert "is not beside it: name its run folder (--checkpoint)" in err.splitlines()[-1]
    assert said("predict", film, "--bank", "clinic.bank", "--checkpoint", place.base / "run")[0] == 0
    assert said("bank", "show", "clinic.bank")[0] == 0
