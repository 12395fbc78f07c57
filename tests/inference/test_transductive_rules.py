import math

import pytest
import torch
from easyfsl.methods import BDCSPN, PTMAP, TIM, LaplacianShot
from torch.nn import functional

from fewshot_cxr.inference.rules import RULES, TRANSDUCTIVE

LABELS = torch.tensor([2, 0, 1, 0, 4, 3, 3, 2, 1, 0, 1, 4, 4])
QUERY_LABELS = torch.arange(5).repeat_interleave(6)


def episodes(n_episodes=5, dim=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(n_episodes, 5, dim, generator=generator) * 0.6
    support = centres[:, LABELS] + torch.randn(n_episodes, len(LABELS), dim, generator=generator)
    return support, centres[:, QUERY_LABELS] + torch.randn(n_episodes, len(QUERY_LABELS), dim, generator=generator)


class UnitLengthPTMAP(PTMAP):
    """easyfsl's method with the unit length of the paper's eq. 1, which easyfsl 1.5 leaves out."""

    def compute_features(self, images):
        return functional.normalize(super().compute_features(images), dim=1)


def ask(method, support, queries):
    method.process_support_set(support, LABELS)
    return method(queries)


@pytest.mark.parametrize(
    ("name", "method", "ours_from", "options", "theirs_options"),
    [
        ("bd_cspn", BDCSPN, "cosine", {}, {}),
        ("laplacian_shot", LaplacianShot, "shares", {}, {}),
        (
            "laplacian_shot",
            LaplacianShot,
            "shares",
            {"smoothing": 2.0, "n_neighbours": 6, "n_steps": 3},
            {"lambda_regularization": 2.0, "knn": 6, "inference_steps": 3},
        ),
        ("tim", TIM, "cosine", {}, {}),
        (
            "tim",
            TIM,
            "cosine",
            {"rate": 0.01, "n_steps": 100, "sharpness": 15.0, "weights": (0.1, 1.0, 0.5)},
            {
                "fine_tuning_lr": 0.01,
                "fine_tuning_steps": 100,
                "temperature": 15.0,
                "cross_entropy_weight": 0.1,
                "conditional_entropy_weight": 0.5,
            },
        ),
    ],
)
def test_a_rule_is_easyfsls_method_on_embeddings_of_length_1(name, method, ours_from, options, theirs_options):
    support, queries = episodes()
    values = RULES[name](support, LABELS, queries, **options)
    ours = 1 - values if ours_from == "cosine" else (-values).exp()
    for episode in range(len(support)):
        theirs = ask(method(feature_normalization=2.0, **theirs_options), support[episode], queries[episode])
        torch.testing.assert_close(ours[episode], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_steps", [1, 10])
def test_pt_map_is_easyfsls_on_features_that_are_not_negative(n_steps):
    support, queries = (rows.relu() for rows in episodes())
    shares = (-RULES["pt_map"](support, LABELS, queries, n_steps=n_steps)).exp()
    for episode in range(len(support)):
        theirs = ask(UnitLengthPTMAP(fine_tuning_steps=n_steps), support[episode], queries[episode])
        torch.testing.assert_close(shares[episode], theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shares.sum(dim=-2), torch.full((5, 5), 6.0))


def test_pt_map_keeps_the_sign_where_easyfsl_drops_it():
    support, queries = (rows - 5 for rows in episodes())
    flipped = RULES["pt_map"](-support, LABELS, -queries)
    torch.testing.assert_close(RULES["pt_map"](support, LABELS, queries), flipped)
    assert ask(UnitLengthPTMAP(), support[0], queries[0]).std(dim=-1).max() < 0.01  # it sees zeros only


def test_pt_map_balances_a_number_of_queries_that_the_classes_do_not_divide():
    support, queries = episodes()
    shares = (-RULES["pt_map"](support, LABELS, queries[:, :28])).exp()
    torch.testing.assert_close(shares.sum(dim=-2), torch.full((5, 5), 28 / 5))
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(5, 28), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", sorted(TRANSDUCTIVE))
def test_the_scale_of_the_embeddings_does_not_matter(name):
    support, queries = (rows.double() for rows in episodes())
    values = RULES[name](support, LABELS, queries)
    scaled = RULES[name](1000 * support, LABELS, 1000 * queries)
    torch.testing.assert_close(scaled, values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(TRANSDUCTIVE))
def test_company_does_not_carry_over_from_one_episode_to_the_next(name):
    # Far and easy episodes settle sooner than others; each stops for itself.
    support, queries = (rows.double() for rows in episodes())
    support[0], queries[0] = support[0].sign() * 50, queries[0] * 0.01
    values = RULES[name](support, LABELS, queries)
    for episode in range(5):
        alone = RULES[name](support[episode], LABELS, queries[episode])
        torch.testing.assert_close(values[episode], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(TRANSDUCTIVE))
def test_queries_help(name):
    support, queries = episodes(n_episodes=60, seed=3)
    right = {
        rule: float((RULES[rule](support, LABELS, queries).argmin(dim=-1) == QUERY_LABELS).float().mean())
        for rule in (name, "prototype")
    }
    assert right[name] > right["prototype"] - 0.005


def test_laplacian_shot_takes_fewer_queries_than_neighbours():
    support, queries = episodes()
    values = RULES["laplacian_shot"](support, LABELS, queries[:, :2], n_neighbours=5)
    torch.testing.assert_close((-values).exp().sum(dim=-1), torch.ones(5, 2))


@pytest.mark.parametrize("option", ["n_neighbours", "n_steps"])
def test_laplacian_shot_refuses_nothing_to_do(option):
    support, queries = episodes(1)
    with pytest.raises(ValueError, match=f"{option} must be at least 1, got 0"):
        RULES["laplacian_shot"](support, LABELS, queries, **{option: 0})


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize(
    ("rule", "name"),
    [("bd_cspn", "temperature"), ("laplacian_shot", "smoothing"), ("laplacian_shot", "n_steps"), ("pt_map", "power")]
    + [(rule, name) for rule in ("pt_map", "tim") for name in ("sharpness", "rate", "n_steps")],
)
def test_an_option_that_cannot_be_is_refused_by_its_name(rule, name, value):
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must be .*, got "):
        RULES[rule](torch.eye(4), torch.tensor([0, 0, 1, 1]), torch.eye(4), **{name: value})
