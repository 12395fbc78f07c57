"""Slips in the settings of a recipe are answered in one line, before any film is read."""

import pytest

from fewshot_cxr.encoders import ENCODERS
from fewshot_cxr.workflows.recipes import load_recipe, recipe_names, run_recipe
from fewshot_cxr.workflows.recipes.settings import JudgeRules, SplitRules

SIAMESE, CLASSIFIER = "resnet9-triplet", "effnet"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("judge.rule", "knnn", "unknown judge.rule 'knnn' (did you mean 'knn'?)"),
        ("judge.n_exemplars", -1, "judge.n_exemplars must be at least 0, got -1"),
        ("judge.k", 0, "judge.k must be at least 1, got 0"),
        ("judge.n_way", 1, "judge.n_way must be at least 2, got 1"),
        ("judge.n_shot", 0, "judge.n_shot must be at least 1, got 0"),
        ("judge.rank_tables", -1, "judge.rank_tables must be at least 0, got -1"),
        ("judge.n_episodes", -5, "judge.n_episodes must be at least 0, got -5"),
        ("judge.by", "exemplar", "unknown judge.by 'exemplar' (did you mean 'exemplars'?)"),
        ("judge.by", "classifier", "judge.by is 'exemplars' in a siamese recipe, got 'classifier'; leave the key out"),
    ],
)
def test_a_slip_of_the_judge_is_answered_before_any_film_is_read(key, value, message, tmp_path):
    # The films are not there either: were they read first, that would be the error.
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are checked below
        run_recipe(
            load_recipe(SIAMESE), [("coronahack", tmp_path / "none")], out=tmp_path / "run", settings={key: value}
        )
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["rule", "k", "n_exemplars", "rank_tables", "n_episodes", "n_way", "n_shot"])
def test_a_classifier_takes_no_key_of_exemplars(name):
    for key in (name, f"judge.{name}"):
        with pytest.raises(ValueError, match=rf"^judge\.{name} plays no part here: a classifier judges without exempl"):
            load_recipe(CLASSIFIER).with_settings({key: "knn" if name == "rule" else 3})


def test_a_classifier_is_not_judged_by_exemplars():
    with pytest.raises(ValueError, match=r"^judge\.by is 'classifier' in a classifier recipe, got 'exemplars'; leave"):
        load_recipe(CLASSIFIER).with_settings({"judge.by": "exemplars"})


def test_what_judges_follows_from_the_trainer():
    for name in recipe_names():
        recipe = load_recipe(name)
        sections = {**recipe.sections, "judge": {}}
        bare = type(recipe)(**{**recipe.__dict__, "sections": sections})
        assert bare.judge.by == recipe.judge.by


@pytest.mark.parametrize("rule", ["tim", "template"])
def test_any_rule_is_allowed(rule):
    assert load_recipe(SIAMESE).with_settings({"judge.rule": rule}).judge == JudgeRules(
        by="exemplars", rule=rule, n_exemplars=20
    )


@pytest.mark.parametrize(
    ("key", "value", "kind", "message"),
    [
        ("split.per_finding", [5], ValueError, "split.per_finding must hold the films of each finding in val and in"),
        ("split.per_finding", [5, 0], ValueError, "each of split.per_finding must be at least 1, got 0"),
        ("split.per_finding", [5, 1.5], TypeError, "each of split.per_finding must be a whole number, got 1.5"),
        ("split.fractions", [0.5], ValueError, "split.fractions must hold 3 values, got [0.5]"),
        ("split.fractions", [0.5, 0.5, 0.5], ValueError, "1 in all, got [0.5, 0.5, 0.5]"),
        (
            "split.fractions",
            [float("nan"), 0.5, 0.5],
            ValueError,
            "split.fractions must be train (above 0), val and test",
        ),
        ("split.fractions", [0, 0.5, 0.5], ValueError, "split.fractions must be train (above 0), val and test"),
        ("augmentation.zoom", [1], ValueError, "augmentation.zoom must hold 2 values, got [1]"),
        ("augmentation.gamma", ["a", 1], TypeError, "each of augmentation.gamma must be a number, got 'a'"),
        ("image.mean", ["a"], TypeError, "each of image.mean must be a number, got 'a'"),
        ("findings.keep", ["a", 2], TypeError, "each of findings.keep must be a text, got 2"),
        ("findings.per_finding", -1, ValueError, "findings.per_finding must be at least 0, got -1"),
        ("training.augment_findings", [1], TypeError, "each of training.augment_findings must be a text, got 1"),
    ],
)
def test_a_list_is_checked_by_length_and_kind(key, value, kind, message):
    with pytest.raises(kind) as caught:
        load_recipe(CLASSIFIER).with_settings({key: value})
    assert message in str(caught.value)


def test_whole_numbers_stand_for_numbers_in_lists():
    recipe = load_recipe(CLASSIFIER).with_settings({"split.fractions": [1, 0, 0], "augmentation.zoom": [1, 2]})
    assert recipe.split == SplitRules(official=False, fractions=(1.0, 0.0, 0.0))
    assert recipe.augmentation.zoom == (1.0, 2.0)
    assert recipe.with_settings({"training.augment_findings": "none"}).make_trainer().augment_findings is None


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            SIAMESE,
            {"training.encoder_options.widht": 3},
            "training.encoder_options.widht: resnet9 has no such option (did you mean 'width'?); it takes width, ",
        ),
        (
            CLASSIFIER,
            {"training.encoder": "resnet9"},
            "training.encoder_options.pretrained: resnet9 has no such option; it takes width, ",
        ),
        (CLASSIFIER, {"training.encoder": "resnet8"}, "unknown encoder 'resnet8' (did you mean 'resnet"),
        (SIAMESE, {"training.encoder_options": {"depth": 3}}, "training.encoder_options.depth: resnet9 has no such"),
    ],
)
def test_options_of_another_encoder_are_answered_before_any_film_is_read(name, values, message, tmp_path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are checked below
        run_recipe(load_recipe(name), [("manifest", tmp_path / "none.csv")], out=tmp_path / "run", settings=values)
    assert message in str(caught.value)


def test_another_encoder_is_taken_with_its_own_options():
    values = {"training.encoder": "resnet9", "training.encoder_options": {"width": 8, "weights": "a.safetensors"}}
    assert load_recipe(CLASSIFIER).with_settings(values).make_trainer().encoder_options["width"] == 8
    for name in (*ENCODERS, "timm:resnet10t", "xrv:densenet121-res224-all"):
        values = {"training.encoder": name, "training.encoder_options": {"output": "pooled", "dropout": 0.1}}
        assert load_recipe(CLASSIFIER).with_settings(values).make_trainer().encoder == name
