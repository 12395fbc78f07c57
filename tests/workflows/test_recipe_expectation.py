import json

import pytest
from command_line import run
from made_layouts import lay_coronahack
from scipy.stats import binomtest

from fewshot_cxr.evaluation import Result
from fewshot_cxr.evaluation.scores import Scores
from fewshot_cxr.metrics import Estimate, wilson_interval
from fewshot_cxr.workflows.recipes import VERDICTS, Published, compare_with_published, load_recipe, recipe_names
from fewshot_cxr.workflows.recipes.run import _compared


def result_of(mean, interval):
    scores = Scores({"accuracy": Estimate(mean, None, interval, None if interval else "too few patients")}, {})
    return Result(kind="closed_set", scores=scores, findings=("a", "b"), data_hash="", n_films=70, n_patients=70)


def test_newcombes_own_example():
    # Newcombe 1998, table II, 56 of 70 against 48 of 80: 0.20, method 10 0.0524 to 0.3339.
    verdict = compare_with_published(result_of(56 / 70, wilson_interval(56, 70)), Published("accuracy", 48 / 80, 80))
    assert verdict.difference == pytest.approx(0.20)
    assert verdict.difference_ci95 == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert verdict.verdict == "better"


@pytest.mark.parametrize(
    ("mean", "interval", "verdict"),
    [(0.90, (0.85, 0.95), "consistent"), (0.97, (0.94, 0.99), "better"), (0.80, (0.75, 0.84), "not reproduced")],
)
def test_the_three_verdicts(mean, interval, verdict):
    published = Published("accuracy", 0.89)
    assert published.interval == (0.89, 0.89)
    assert compare_with_published(result_of(mean, interval), published).verdict == verdict
    assert set(VERDICTS) == {"consistent", "better", "not reproduced"}


def test_without_an_interval_nothing_is_said():
    with pytest.raises(ValueError, match="^accuracy with an interval over patients is needed .*: too few patients$"):
        compare_with_published(result_of(0.9, None), Published("accuracy", 0.9))
    with pytest.raises(ValueError, match="^auroc with an interval over patients is needed .*: this result has none$"):
        compare_with_published(result_of(0.9, (0.8, 1.0)), Published("auroc", 0.9))


def test_a_run_is_not_lost_for_want_of_an_interval(tmp_path):
    verdict, notes = _compared(result_of(0.9, None), Published("accuracy", 0.9), tmp_path)
    assert verdict is None
    assert notes[0].startswith("not compared with the publication: accuracy with an interval over patients")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", recipe_names())
def test_each_recipe_expects_what_it_says_was_reported(name):
    recipe = load_recipe(name)
    if recipe.expected is None:
        assert name in ("resnet9-triplet", "common-base")
        return
    value, n_films = recipe.expected.value, recipe.expected.n_films
    said = recipe.reported.replace(",", "").replace("(", " ")
    forms = {f"{value:.2f}"[1:], f"{value:.3f}"[1:], f"{100 * value:.2f}", f"{100 * value:.1f}", f"{100 * value:.0f}"}
    assert forms & set(said.split()), (forms, said)
    assert not n_films or str(n_films) in said.split()
    if n_films:
        oracle = binomtest(round(value * n_films), n_films).proportion_ci(method="wilson")
        assert recipe.expected.interval == pytest.approx((oracle.low, oracle.high), abs=5e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["effnet", "--data", "films.csv"],
            "--expect needs the films of the publication: --data covid19_radiography:PATH",
        ),
        (["effnet", "--data", "covid19_radiography:films", "--smoke"], "leave --smoke out"),
        (["resnet9-triplet", "--data", "coronahack:films"], "the publication states no number"),
        (
            ["effnet", "--data", "covid19_radiography:films", "--set", 'findings.keep=["a", "b"]'],
            "needs the findings of the publication; leave --set of `findings` and `read` out",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("recipes", "run", *arguments, "--expect", "--out", "run") == 2
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_a_run_says_its_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coronahack").mkdir()
    lay_coronahack(tmp_path / "coronahack")
    tiny = ["n_batches=1", "batch_size=8", "size_px=32", "training.n_epochs=1", "width=4"]
    sets = [word for setting in tiny for word in ("--set", setting)]
    data = ("--data", "coronahack:coronahack", "--threads", "1")
    assert run("recipes", "run", "resnet9-baseline", *data, *sets, "--expect", "--out", "run") == 0
    kept = json.loads((tmp_path / "run/expected.json").read_text())
    assert kept["published"]["value"] == 0.83
    assert kept["verdict"] in VERDICTS
    assert f": {kept['verdict']}" in capsys.readouterr().err
    assert run("recipes", "run", "resnet9-baseline", *data, *sets, "--resume", "--out", "run") == 0
    assert not (tmp_path / "run/expected.json").exists()
