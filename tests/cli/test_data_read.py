"""`fscxr data read` on every layout, made-up and real, and training from each of them."""

import json
import os
from collections import Counter
from inspect import signature

import numpy as np
import pytest
from command_line import run
from made_layouts import FOLDERS_ONLY, LAYOUTS, N_PATIENTS, N_ROWS
from PIL import Image

from fewshot_cxr.data import READERS, read_dataset

FIVE = ("chestxray14", "coronahack", "covid19_radiography", "covid_chestxray", "covidx")


def read(tmp_path, *arguments):
    """Run `data read` with --json; return the exit code and the report."""
    report = tmp_path / "report.json"
    code = run("data", "read", *arguments, "--json", report)
    return code, json.loads(report.read_text(encoding="utf-8")) if report.exists() else None


def names(paths):
    return sorted(path.rpartition("/")[2] for path in paths)


@pytest.fixture(params=sorted(READERS))
def source(request, tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    return request.param, f"{request.param}:{LAYOUTS[request.param](root)}"


def test_every_layout_becomes_a_manifest(source, tmp_path, capsys):
    name, data = source
    code, report = read(tmp_path, data, "--out", tmp_path / "films.csv")
    assert code == 0
    assert report["n_rows"] == N_ROWS[name]
    assert (len(report["missing"]), len(report["unreadable"])) == (int(name not in FOLDERS_ONLY), 2)
    again = read_dataset("manifest", tmp_path / "films.csv")
    assert len(again) == report["n_records"]
    shown = capsys.readouterr()
    assert "Films by finding and source" in shown.out
    assert f"from {N_ROWS[name]} rows" in shown.err


def test_without_verifying_the_cut_film_stays(source, tmp_path):
    _, report = read(tmp_path, source[1], "--no-verify")
    assert len(report["unreadable"]) == 1


def test_strict_fails_and_writes_nothing(source, tmp_path, capsys):
    code, report = read(tmp_path, source[1], "--strict", "--out", tmp_path / "films.csv")
    assert (code, report) == (1, None)
    assert not (tmp_path / "films.csv").exists()
    assert "rows cannot be used (" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["classifier", "siamese"])
def test_training_runs_from_every_layout(source, kind, tmp_path, capsys):
    name, data = source
    small = ("--image-size", 32, "--epochs", 1, "--batches", 1, "--batch-size", 8)
    small = ("--encoder", "resnet9", "--encoder-option", "width=4", *small)
    assert run("train", kind, "--data", data, *small, "--out", tmp_path / "run") == 0
    assert (tmp_path / "run" / "encoder.safetensors").is_file()
    told = capsys.readouterr().err
    assert ("carved from the training films, by patient" in told) == (name not in ("chexpert", "mimic_cxr_jpg"))
    assert ("1 films left out, they show several of the findings" in told) == (name == "chestxray14")


def test_chosen_findings_and_a_lone_film(tmp_path, capsys):
    path = LAYOUTS["manifest"](tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("p0_1.png,a", "p0_1.png,lone"), encoding="utf-8")
    small = ("--image-size", 32, "--epochs", 1, "--batch-size", 8, "--encoder-option", "width=4")
    chosen = ("--findings", "a, b,lone", "--out", tmp_path / "run")
    assert run("train", "siamese", "--data", path, *small, *chosen) == 0
    told = capsys.readouterr().err
    assert f"{N_PATIENTS} films left out, they show none of the findings" in told
    assert "left out, one film only: lone" in told
    assert json.loads((tmp_path / "run" / "card.json").read_text())["findings"] == ["a", "b"]


def test_several_sets_become_one_with_a_map_of_findings(tmp_path, capsys):
    for name in ("coronahack", "image_folder"):
        (tmp_path / name).mkdir()
    sources = [f"{name}:{LAYOUTS[name](tmp_path / name)}" for name in ("coronahack", "image_folder")]
    renamed = ("--map", "bacteria=pneumonia", "--map", "Virus=pneumonia", "--map", "a=Normal")
    code, report = read(tmp_path, *sources, *renamed, "--out", tmp_path / "all.csv")
    assert code == 0
    assert report["by_finding"] == {"Normal": 16, "b": 8, "c": 8, "pneumonia": 16}
    assert report["by_source"] == {"image_folder": 24, "kermany": 24}
    both = read_dataset("manifest", tmp_path / "all.csv")
    assert Counter(film.path.partition("/")[0] for film in both) == {"coronahack": 24, "image_folder": 24}
    assert Counter(film.attributes["dataset"] for film in both) == {"coronahack": 24, "image_folder": 24}
    assert "image_folder: patients are unknown" in capsys.readouterr().err


def test_an_official_split_that_leaks_is_refused_in_training(tmp_path, capsys):
    LAYOUTS["covidx"](tmp_path)
    for split in ("train", "test"):
        labels = tmp_path / "labels" / f"{split}_COVIDx8A.txt"
        first, *rest = labels.read_text(encoding="utf-8").splitlines()
        labels.write_text("\n".join([f"ANON191 {first.split(' ', 1)[1]}", *rest]), encoding="utf-8")
    data = f"covidx:{tmp_path}"
    assert run("train", "siamese", "--data", data, "--out", tmp_path / "run") == 2
    assert "ANON191 is in train and in test: split by patient (fscxr data split)" in capsys.readouterr().err
    assert run("data", "split", data, "--out", tmp_path / "split.csv") == 0


def test_wrong_use_is_one_line(tmp_path, capsys):
    path = LAYOUTS["manifest"](tmp_path)
    for arguments, message in (
        ((path, "--map", "a"), "--map a: OLD=NEW was expected"),
        ((path, "--map", "A=b"), "no film has the finding 'A'"),
        ((path, "--version", "9A"), "--version does not fit manifest data"),
        ((path, path, "--views", "PA"), "--views does not fit manifest or manifest data"),
        ((f"covidx:{tmp_path / 'gone'}",), "no such file or folder"),
        ((f"covidX:{tmp_path}",), "no reader 'covidX' (did you mean 'covidx'?)"),
        (("coronahack:",), "'coronahack:' names no file or folder; an empty variable, perhaps"),
        (("",), "'' names no file or folder"),
        ((path, "--with-others"), "--with-others goes with --findings"),
        ((path, "--findings", ""), "--findings '' names nothing; write --findings A,B,C"),
        ((path, "--json", tmp_path), "is a directory"),
    ):
        assert run("data", "read", *arguments) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert len(errors) == 1
        assert message in errors[0]


def test_a_wrong_root_leaves_with_code_4(tmp_path, capsys):
    (tmp_path / "holiday").mkdir()
    assert run("data", "read", f"chestxray14:{tmp_path}") == 4
    assert "found holiday" in capsys.readouterr().err


@pytest.fixture
def layouts(fscxr_data):
    return fscxr_data / "layouts"


@pytest.fixture
def expected(layouts):
    return json.loads((layouts / "EXPECTED.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", ["1", "7A", "9A", "9B"])
def test_covidx(layouts, expected, tmp_path, version):
    wanted = expected["covidx"]
    code, report = read(tmp_path, f"covidx:{layouts / 'covidx'}", "--version", version)
    assert code == 0
    lists = [f"{split}_COVIDx{'' if version == '1' else version}.txt" for split in ("train", "test")]
    lists = [name for name in lists if name in wanted["label_lines"]]
    assert report["n_rows"] == sum(wanted["label_lines"][name] for name in lists)
    lines = [line for name in lists for line in wanted["missing_image_lines"].get(name.removesuffix(".txt"), [])]
    assert names(report["missing"]) == sorted(line.split()[1] for line in lines)
    assert report["unreadable"] == (wanted["truncated"] if version == "7A" else [])
    rows = sum((Counter(wanted["classes"][name]) for name in lists), Counter())
    # The first version's train list has four films twice, one row for each box of RSNA.
    assert len(report["duplicates"]) == (4 if version == "1" else 0)
    n_left_out = sum(len(report[kind]) for kind in ("missing", "unreadable", "duplicates"))
    assert sum(rows.values()) - n_left_out == sum(report["by_finding"].values())
    assert set(report["by_finding"]) == set(rows)
    assert "rnsa" not in report["by_source"]


def test_the_newest_covidx_with_three_classes_is_read(layouts, tmp_path, capsys):
    _, report = read(tmp_path, f"covidx:{layouts / 'covidx'}", "--no-verify")
    assert report["by_finding"] == {"COVID-19": 22, "normal": 27, "pneumonia": 23}
    assert "version 9A" in capsys.readouterr().err


def test_coronahack(layouts, expected, tmp_path):
    wanted = expected["coronahack"]
    code, report = read(tmp_path, f"coronahack:{layouts / 'coronahack'}")
    assert code == 0
    assert report["n_rows"] == wanted["rows"]
    assert names(report["missing"]) == sorted(wanted["missing"])
    assert names(report["unreadable"]) == names([*wanted["zero_byte"], *wanted["truncated"]])
    assert report["n_records"] == wanted["images_train"] + wanted["images_test"] - len(report["unreadable"])


def test_covid19_radiography(layouts, expected, tmp_path):
    wanted = expected["covid19_radiography"]
    code, report = read(tmp_path, f"covid19_radiography:{layouts / 'covid19_radiography'}")
    assert code == 0
    assert report["n_rows"] == 4 * wanted["rows_per_xlsx"]
    assert names(report["missing"]) == sorted(f"{name}.png" for name in wanted["missing"])
    assert names(report["unreadable"]) == names(wanted["truncated"])
    assert sorted(report["by_finding"].values()) == [11, 12, 12, 12]


def test_chestxray14(layouts, expected, tmp_path):
    wanted = expected["chestxray14"]
    code, report = read(tmp_path, f"chestxray14:{layouts / 'chestxray14'}")
    assert code == 0
    assert report["n_rows"] == wanted["rows"]
    assert names(report["unreadable"]) == [wanted["truncated"]]
    assert report["n_records"] == wanted["images"] - 1
    assert len(report["missing"]) == wanted["rows"] - wanted["images"]


def test_covid_chestxray(layouts, expected, tmp_path):
    wanted = expected["ieee8023"]
    code, report = read(tmp_path, f"covid_chestxray:{layouts / 'ieee8023'}", "--views", "all")
    assert code == 0
    assert report["n_rows"] == wanted["rows"]
    assert names(report["missing"]) == sorted(wanted["missing"])
    assert names(report["unreadable"]) == wanted["truncated"]
    assert report["n_records"] == wanted["xray_with_image"] - 1
    assert report["by_view"] == wanted["views"] | {"L": wanted["views"]["L"] - 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIVE)
def test_training_runs_from_every_real_layout(layouts, tmp_path, name):
    folder = {"covid_chestxray": "ieee8023"}.get(name, name)
    small = ("--image-size", 32, "--epochs", 1, "--batch-size", 8, "--encoder-option", "width=4")
    # Nearly all of its films with a finding show several.
    chosen = ("--findings", "No Finding,Pneumonia", "--with-others") if name == "chestxray14" else ()
    data = ("--data", f"{name}:{layouts / folder}")
    assert run("train", "siamese", *data, *chosen, *small, "--out", tmp_path / "run") == 0


def test_names_are_no_markup(tmp_path, capsys):
    path = LAYOUTS["manifest"](tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0] + ",source", *(f"{line},[/foo]" for line in lines[1:])]), encoding="utf-8")
    assert run("data", "read", path, "--map", "a=[red]x[/red]") == 0
    shown = capsys.readouterr().out
    assert "[/foo]" in shown
    assert "[red]x[/red]" in shown


def test_films_of_other_splits_are_never_trained_on(tmp_path, capsys):
    path = LAYOUTS["manifest"](tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0] + ",split", *(f"{line},test" for line in lines[1:])]), encoding="utf-8")
    assert run("train", "siamese", "--data", path, "--out", tmp_path / "run") == 2
    assert "no film has the split 'train'; there are test" in capsys.readouterr().err


def test_a_leaking_split_is_said_and_strict_refuses_it(tmp_path, capsys):
    LAYOUTS["image_folder"](tmp_path)
    rows = "a/p0_1.png,a,p,train\nb/p100_1.png,b,p,test\n"
    (tmp_path / "films.csv").write_text(f"path,label,patient_id,split\n{rows}", encoding="utf-8")
    assert run("data", "read", tmp_path / "films.csv") == 0
    leak = "patient p is in train and in test: split by patient (fscxr data split)"
    assert f"note: {leak}" in capsys.readouterr().err
    assert run("data", "read", tmp_path / "films.csv", "--strict") == 1
    assert leak in capsys.readouterr().err


def test_too_few_findings_say_what_was_left_out(tmp_path, capsys):
    path = LAYOUTS["manifest"](tmp_path)
    assert run("train", "siamese", "--data", path, "--findings", "a", "--out", tmp_path / "run") == 2
    assert "training needs two findings of two films or more each, there is a; choose" in capsys.readouterr().err


def test_every_reader_is_named_and_every_option_of_it_has_its_flag(capsys):
    assert run("data", "read", "--help") == 0
    shown = capsys.readouterr().out
    assert set(READERS) <= set(shown.partition("Names:")[2].partition("Example:")[0].replace(",", " ").split())
    for reader in READERS.values():
        options = [name for name, option in signature(reader).parameters.items() if option.kind is option.KEYWORD_ONLY]
        for name in set(options) - {"allow_leak"}:  # that one is for the commands to decide
            assert f"--{name.replace('_', '-')} " in shown, name


def test_a_finding_goes_to_the_folders_that_have_films_without_one(tmp_path, capsys):
    for path in ("known/a/1.png", "known/b/2.png", "five/png/3.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"film")
    both = (tmp_path / "known", tmp_path / "five", "--no-verify", "--finding", "new")
    code, report = read(tmp_path, *both)
    assert (code, report["by_finding"]) == (0, {"a": 1, "b": 1, "new": 1})
    assert run("data", "read", tmp_path / "known", "--no-verify", "--finding", "new") == 2
    assert "--finding new has no effect" in capsys.readouterr().err


def test_a_folder_whose_name_is_no_utf_8_is_read_and_found_again(tmp_path, capsys):
    root = tmp_path / "elsewhere" / os.fsdecode(b"caf\xe9")
    try:
        (root / "a").mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for name in ("1", "2", "3"):
        Image.fromarray(np.full((8, 8), 99, dtype=np.uint8)).save(root / "a" / f"{name}.png")
    for place in (tmp_path / "here", root.parent):
        for command in ("read", "split"):
            manifest = place / f"{command}.csv"
            assert run("data", command, root, "--out", manifest) == 0
            assert run("data", "read", manifest, "--json", place / f"{command}.json") == 0
            assert json.loads((place / f"{command}.json").read_text(encoding="utf-8"))["n_records"] == 3
    assert "error" not in capsys.readouterr().err
