"""How a bank decides and by which encoder: what it takes from a run, refuses, and where it looks for weights."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from made_encoders import settled_encoder

from fewshot_cxr.data.film_digests import write_training_films
from fewshot_cxr.encoders import encoder_hash, load_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank import terms as terms_module
from fewshot_cxr.inference.bank.terms import BankTerms, find_encoder, given_encoder, merged_terms, terms_of

TAUGHT = {"findings": ["covid19", "normal"]}


def network(seed=0, **card):
    encoder = settled_encoder("resnet9", seed=seed, size_px=32, width=4)
    encoder.card = TAUGHT | card
    return encoder


def lay(folder, seed=0, **card):
    """Save the network into a run folder."""
    save_encoder(network(seed), folder / "encoder.safetensors", card=TAUGHT | card)
    return folder


def terms_by(encoder, *, rule=None, distance=None, options=None):
    return terms_of(encoder, rule=rule, distance=distance, options=options)[1]


# What a bank takes from an encoder


def test_terms_are_those_of_the_card_then_the_usual_ones():
    assert (terms_by(network()).rule, terms_by(network()).distance) == ("mean_distance", "cosine")
    told = terms_by(network(rule="prototype", distance="euclidean"))
    assert (told.rule, told.distance, told.options) == ("prototype", "euclidean", {})
    given = terms_by(
        network(rule="prototype", distance="euclidean"), rule="nearest", distance="cosine", options={"k": 3}
    )
    assert (given.rule, given.distance, given.options) == ("nearest", "cosine", {"k": 3})


def test_terms_hold_what_the_encoder_is():
    encoder = network()
    terms = terms_by(encoder)
    assert terms.encoder == {
        "sha256": encoder_hash(encoder),
        "recipe": encoder.recipe,
        "image_spec": encoder.image_spec.to_json(),
        "card": TAUGHT,
        "run": "",
    }
    assert terms.image_spec == encoder.image_spec
    assert terms.encoder_name == "resnet9"
    assert (terms.choice, terms.trained_on, terms.places) == ("all", frozenset(), ())


def test_published_weights_are_named_and_random_ones_refused():
    encoder = network()
    encoder.card, encoder.origin = {}, {"name": "published ones"}
    assert terms_by(encoder).encoder_name == "published ones"
    assert terms_by(encoder).encoder["card"] == {"weights": {"name": "published ones"}}
    encoder.origin = None
    for card in ({}, {"findings": []}, {"weights": {}, "rule": "prototype"}):
        encoder.card = card
        told = (
            "the weights of resnet9 are random, and random distances tell nothing: take published weights "
            "(--pretrained, --weights) or a trained run (--checkpoint)"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
            terms_by(encoder)
    encoder.card, encoder.recipe = {"weights": {"name": "named"}}, {"encoder": "resnet9"}
    assert terms_by(encoder).encoder_name == "named"
    encoder.card, encoder.recipe = {}, {}
    with pytest.raises(ValueError, match="^the weights of the encoder are random"):
        terms_by(encoder)


@pytest.mark.parametrize("is_file", [False, True])
def test_a_run_is_known_by_its_folder_and_the_films_it_was_trained_on(tmp_path, is_file):
    run = lay(tmp_path / "my_run")
    place = run / "encoder.safetensors" if is_file else run
    assert terms_by(place).trained_on == frozenset()
    write_training_films(run, ["aa", "bb"])
    encoder, terms = terms_of(str(place), rule=None, distance=None, options=None)
    assert encoder_hash(encoder) == terms.encoder["sha256"]
    assert terms.encoder["run"] == "my_run"
    assert terms.trained_on == {"aa", "bb"}
    assert terms.to_json()["trained_on"] == ["aa", "bb"]


def test_a_learned_distance_comes_from_the_run_alone(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(terms_module, "learned_options", lambda *given: asked.append(given) or {"weights": 1})
    assert terms_by(network(), rule="prototype", options={"k": 3}).options == {"k": 3}
    assert not asked
    run = lay(tmp_path / "run", rule="prototype")
    assert terms_by(run, options={"k": 3}).options == {"k": 3, "weights": 1}
    ((rule, encoder, place),) = asked
    assert (rule, encoder.recipe["encoder"], place) == ("prototype", "resnet9", run)


def test_json_leaves_tensors_out():
    terms = replace(terms_by(network()), options={"k": 3, "weights": torch.ones(2)}, choice="herding")
    assert terms.to_json() == {
        "encoder": dict(terms.encoder),
        "rule": "mean_distance",
        "distance": "cosine",
        "options": {"k": 3},
        "choice": "herding",
        "trained_on": [],
    }


# Films that the encoder was trained on


class Films:
    def __init__(self, *digests):
        self.digests, self.films = digests, tuple(f"{row}.png" for row in range(len(digests)))

    def __len__(self):
        return len(self.films)


def test_films_of_the_training_are_refused_by_name():
    terms = replace(terms_by(network()), trained_on=frozenset({"b", "c"}))
    terms.refuse_trained(Films("a", "d"), "exemplars")
    told = (
        "the encoder was trained on 2 of the 3 films, such as 1.png, so that they are nearer than films to come: "
        "calibrate on films kept apart"
    )
    with pytest.raises(ValueError, match=f"^{told}$"):
        terms.refuse_trained(Films("a", "b", "c"), "films")


@pytest.mark.parametrize(
    ("card", "digests", "is_frozen"),
    [
        ({}, "ab", True),
        ({}, "bc", False),
        ({"keep": "auto"}, "bc", True),
        ({"training": {"freeze": "backbone"}}, "bc", True),
        ({"training": {"freeze": "none"}}, "bc", False),
        ({"training": {}}, "bc", False),
    ],
)
def test_features_are_those_of_films_to_come_where_nothing_below_them_was_trained_on_them(card, digests, is_frozen):
    terms = replace(terms_by(network(**card)), trained_on=frozenset("cd"))
    assert terms.features_are_frozen(Films(*digests)) is is_frozen


# Another encoder


def test_another_encoder_is_told_by_what_is_first_otherwise():
    terms, other = terms_by(network()), network(seed=1)
    assert terms.check(same := network()) is same
    own, theirs = (one[:12] for one in (terms.encoder["sha256"], encoder_hash(other)))
    told = (
        f"the bank was made by resnet9 with weights {own}, this encoder has {theirs}: its vectors cannot be compared; "
        "name the bank's own (--checkpoint), or build anew"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        terms.check(other)
    other = network()
    other.image_spec = replace(other.image_spec, size_px=48)
    with pytest.raises(ValueError, match="^the bank was made by resnet9 with size_px 32, this encoder has 48: "):
        terms.check(other)
    other = network()
    other.recipe = {**other.recipe, "options": {**other.recipe["options"], "stem_pool": 1, "of a later version": 3}}
    with pytest.raises(ValueError, match="^the bank was made by resnet9 with stem_pool 2, this encoder has 1: "):
        terms.check(other)
    other.recipe["options"]["stem_pool"] = 2
    assert terms.check(other) is other


# Two banks


def test_banks_of_one_kind_are_merged_whichever_comes_first(tmp_path):
    runs = [lay(tmp_path / name) for name in "ba"]
    first, second = (
        replace(terms_by(run), trained_on=frozenset(run.name), places=(run,), choice=choice)
        for run, choice in zip(runs, ("random", "medoids"), strict=True)
    )
    for one, other in ((first, second), (second, first)):
        both = merged_terms(one, other)
        assert both.trained_on == {"a", "b"}
        assert both.places == (*one.places, *other.places)
        assert both.encoder["run"] == "a"
        assert both.choice == "medoids"
        assert (both.rule, both.distance) == (one.rule, one.distance)


@pytest.mark.parametrize(
    ("choices", "kept"),
    [
        (("all", "random"), "all"),
        (("all", "herding"), "herding"),
        (("random", "k_center"), "k_center"),
        (("medoids", "herding"), "herding"),
    ],
)
def test_of_two_ways_to_choose_that_which_allows_less_is_kept(choices, kept):
    for pair in (choices, choices[::-1]):
        assert merged_terms(*(replace(terms_by(network()), choice=choice) for choice in pair)).choice == kept


@pytest.mark.parametrize(
    ("what", "pair"),
    [
        ("rule", ("nearest", "prototype")),
        ("distance", ("cosine", "euclidean")),
        ("options", ({"k": 1}, {"k": 3})),
    ],
)
def test_two_kinds_of_terms_are_refused(what, pair):
    first, second = (replace(terms_by(network()), **{what: value}) for value in pair)
    told = f"the banks have two kinds of {what}, {pair[0]} and {pair[1]}: build one anew"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        merged_terms(first, second)


def test_two_encoders_are_refused_by_name():
    first, second = terms_by(network()), terms_by(network(seed=1))
    own, theirs = (one.encoder["sha256"][:12] for one in (first, second))
    told = f"the banks were made by two encoders, resnet9 with weights {own} and resnet9 with {theirs}"
    with pytest.raises(ValueError, match=f"^{told}$"):
        merged_terms(first, second)


# Where the encoder is looked for


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A working folder without encoders."""
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    return tmp_path


def test_the_encoder_of_its_name_is_tried_first_and_damaged_ones_are_passed(away, monkeypatch):
    terms = terms_by(lay(away / "here" / "z_own"))
    lay(away / "here" / "a_copy")
    lay(away / "here" / "b_other", seed=1)
    (away / "here" / "c_damaged").mkdir()
    (away / "here" / "c_damaged" / "encoder.safetensors").write_bytes(b"nothing")
    tried = []
    monkeypatch.setattr(terms_module, "load_encoder", lambda file: tried.append(file.parent.name) or load_encoder(file))
    assert encoder_hash(terms.encoder_near(away / "here")) == terms.encoder["sha256"]
    assert tried == ["z_own"]
    shutil.rmtree(away / "here" / "z_own")
    (away / "here" / "a_copy").rename(away / "here" / "d_copy")
    tried.clear()
    assert encoder_hash(terms.encoder_near(away / "here")) == terms.encoder["sha256"]
    assert tried == ["b_other", "c_damaged", "d_copy"]
    monkeypatch.setattr(terms_module, "_MOST_TRIED", 2)
    assert terms.encoder_near(away / "here") is None
    assert terms.encoder_near(away / "here" / "d_copy") is not None
    assert terms.encoder_near(away / "nowhere") is None


def test_it_is_found_beside_the_bank_then_in_the_working_folder(away, monkeypatch):
    terms = terms_by(lay(away / "away" / "run"))
    assert encoder_hash(find_encoder(terms)) == terms.encoder["sha256"]
    monkeypatch.chdir(away)
    told = (
        f"the encoder of the bank (resnet9, weights {terms.encoder['sha256'][:12]}) is not beside it: name its run "
        "folder (--checkpoint) or its file of weights (--weights), or build the bank --self-contained"
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(told)}$"):
        find_encoder(terms)
    beside = replace(terms, places=(away / "nowhere", away / "away"))
    assert encoder_hash(find_encoder(beside)) == terms.encoder["sha256"]


def test_it_is_the_one_that_is_named_if_it_is_the_bank_s_own(away):
    run, other = lay(away / "run"), lay(away / "other", seed=1)
    terms = terms_by(run)
    own = load_encoder(run)
    assert given_encoder(terms, None) is None
    assert given_encoder(terms, own) is own
    for place in (run, str(run)):
        assert encoder_hash(given_encoder(terms, place)) == terms.encoder["sha256"]
    for place in (other, str(other), load_encoder(other)):
        with pytest.raises(ValueError, match="its vectors cannot be compared"):
            given_encoder(terms, place)


def published(terms, **options):
    """Return the same terms of an encoder that was built with published weights."""
    recipe = {**terms.encoder["recipe"], "options": {**terms.encoder["recipe"]["options"], **options}}
    return replace(terms, encoder=terms.encoder | {"recipe": recipe})


@pytest.mark.parametrize("is_theirs", [True, False])
def test_published_weights_are_built_anew_and_known_by_their_hash(away, monkeypatch, is_theirs):
    terms, built = terms_by(network()), []

    def build(name, **options):
        built.append((name, options))
        return network(seed=0 if is_theirs else 1)

    monkeypatch.setattr(terms_module, "build_encoder", build)
    with pytest.raises(FileNotFoundError):
        find_encoder(terms)
    assert not built
    pretrained = published(terms, pretrained=True, weights="of another machine")
    options = {name: value for name, value in terms.encoder["recipe"]["options"].items() if name != "weights"}
    options |= {"pretrained": True, "image_spec": terms.image_spec}
    if is_theirs:
        assert encoder_hash(find_encoder(pretrained)) == terms.encoder["sha256"]
        assert encoder_hash(given_encoder(pretrained, None, weights="a.pth")) == terms.encoder["sha256"]
        assert built == [("resnet9", options), ("resnet9", options | {"weights": "a.pth"})]
    else:
        with pytest.raises(FileNotFoundError, match="is not beside it"):
            find_encoder(pretrained)
        with pytest.raises(ValueError, match="its vectors cannot be compared"):
            find_encoder(pretrained, weights="a.pth")


def test_code_of_others_is_not_built(away, monkeypatch):
    terms = published(terms_by(network()), pretrained=True)
    theirs = replace(terms, encoder=terms.encoder | {"recipe": terms.encoder["recipe"] | {"encoder": "timm/else"}})
    monkeypatch.setattr(terms_module, "build_encoder", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(FileNotFoundError, match="is not beside it"):
        find_encoder(theirs)


def test_a_spec_is_read_from_plain_values():
    spec = ImageSpec(size_px=48)
    encoder = {"image_spec": spec.to_json(), "card": {}, "recipe": {"encoder": "resnet9"}, "sha256": "", "run": ""}
    terms = BankTerms(encoder)
    assert terms.image_spec == spec
    assert (terms.rule, terms.distance, terms.choice) == ("mean_distance", "euclidean", "all")
