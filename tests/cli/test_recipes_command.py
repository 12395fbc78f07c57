import csv
import json

import pytest
from command_line import run
from made_layouts import lay_coronahack

pytestmark = pytest.mark.usefixtures("unpainted")
TINY = ["--set", "n_batches=1", "--set", "batch_size=8", "--set", "size_px=32", "--set", "training.n_epochs=1"]
TINY += [
    "--set",
    "width=4",
    "--set",
    "n_episodes=10",
    "--set",
    "judge.rank_tables=1",
    "--set",
    "judge.n_shot=1",
    "--threads",
    "1",
]


@pytest.fixture
def layouts(tmp_path):
    (tmp_path / "coronahack").mkdir()
    lay_coronahack(tmp_path / "coronahack")
    return tmp_path


def test_the_list_names_each_recipe_with_what_was_reported(capsys):
    assert run("recipes", "list") == 0
    shown = capsys.readouterr().out
    assert "covidnet-single-cropped" in shown
    assert "chestxray14 + " in shown


def test_show_prints_the_file_or_the_settings_of_a_run(capsys):
    assert run("recipes", "show", "resnet9-triplet") == 0
    assert "# not stated in the report" in capsys.readouterr().out
    assert run("recipes", "show", "resnet9-triplet", "--published", "--set", "n_epochs=7") == 0
    shown = capsys.readouterr().out
    assert "n_epochs = 7" in shown
    assert "clip_value = 0.1" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "resnet9-tripplet"], "did you mean 'resnet9-triplet'"),
        (["show", "effnet", "--set", "n_epoch=1"], "did you mean 'n_epochs'"),
        (["show", "effnet", "--set", "n_epochs"], "key=value was expected"),
        (
            ["run", "effnet", "--data", "coronahack:films", "--out", "run", "--set", "lr=fast"],
            "training.lr must be a number",
        ),
        (["show", "effnet-triplet", "--set", "rule=knnn"], "unknown judge.rule 'knnn' (did you mean 'knn'?)"),
        (["show", "effnet", "--set", "rank_tables=1"], "judge.rank_tables plays no part here"),
        (
            ["run", "effnet", "--data", "nowhere.csv", "--out", "run", "--set", "split.fractions=[0.5]"],
            "split.fractions must hold 3 values, got [0.5]",
        ),
        (
            ["run", "effnet", "--data", "nowhere.csv", "--out", "run", "--set", "training.encoder=resnet9"],
            "training.encoder_options.pretrained: resnet9 has no such option",
        ),
        (["run", "effnet", "--data", "nowhere.csv", "--out", "run"], "nowhere.csv"),
    ],
)
def test_a_slip_is_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("recipes", *arguments) != 0
    shown = capsys.readouterr().err.strip().splitlines()
    assert shown[-1].startswith("fscxr: error: ")
    assert words in shown[-1]
    assert not (tmp_path / "run").exists()


def test_a_run_leaves_its_result_and_is_not_overwritten(layouts, capsys):
    out = layouts / "run"
    arguments = ["recipes", "run", "resnet9-triplet", "--data", f"coronahack:{layouts / 'coronahack'}", "--out", out]
    assert run(*arguments, *TINY, "--json", "-") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["kind"] == "closed_set"
    assert "reported by the paper, on its own films: three rank tables" in shown.err
    assert json.loads((out / "episodes.json").read_text())["kind"]
    with (out / "split.csv").open() as opened:
        rows = list(csv.DictReader(line for line in opened if not line.startswith("# ")))
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert run(*arguments, *TINY) == 2
    assert "holds a run already: add --resume" in capsys.readouterr().err


@pytest.mark.slow
def test_check_tries_recipes_and_fails_where_one_fails(layouts, capsys):
    arguments = ["recipes", "check", "--data-root", layouts, "--threads", "1", "--only", "corrected"]
    assert run(*arguments, "resnet9-baseline", "--json", layouts / "rows.json") == 0
    row = json.loads((layouts / "rows.json").read_text())[0]
    assert (row["recipe"], row["variant"], row["error"]) == ("resnet9-baseline", "corrected", "")
    assert run(*arguments, "resnet9-baseline", "effnet") == 1
    shown = capsys.readouterr()
    assert "failed: effnet (corrected): " in shown.err
    assert "ok" in shown.out
