"""Deletion and insertion: a map of what the network needs changes the score at once, a random one does not."""

import numpy as np
import pytest
import torch
from torch import nn

from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.explain.deletion import FILLS, MODES, area_under, deletion_curve

SIDE, PATCH = 32, slice(8, 16)


def films(n=4, seed=0):
    images = torch.rand(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    images[:, :, PATCH, PATCH] += 2
    return images


def one_patch(images):
    return images[:, 0, PATCH, PATCH].mean(dim=(1, 2))


def heat_on_the_patch(n=4):
    heat = np.zeros((n, SIDE, SIDE), np.float32)
    heat[:, PATCH, PATCH] = 1
    return heat


def slowly(score, images, heat, n_steps, fill):
    """Delete one film, one pixel after the other; the heat has no two equal values."""
    curves = []
    for film, own in zip(images, heat, strict=True):
        order = sorted(range(own.size), key=lambda place: -own.ravel()[place])
        changed, curve = film.clone(), []
        for step in range(n_steps + 1):
            for place in order[: round(own.size * step / n_steps)]:
                row, column = divmod(place, own.shape[1])
                changed[:, row, column] = fill[:, row, column]
            curve.append(float(score(changed[None])[0]))
        curves.append(curve)
    return np.array(curves)


@pytest.mark.parametrize("n_steps", [1, 7, 20])
def test_curve_is_that_of_pixels_taken_one_by_one(n_steps):
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    heat = np.random.default_rng(0).normal(size=(2, 9, 9)).astype(np.float32)
    fill = images[0].mean(dim=(1, 2), keepdim=True).expand(3, 9, 9)

    def score(batch):
        return (batch * torch.arange(81.0).view(9, 9)).sum(dim=(1, 2, 3))

    found = deletion_curve(score, images[:1], heat[:1], n_steps=n_steps, fill="mean")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, slowly(score, images[:1], heat[:1], n_steps, fill), rtol=1e-5)


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_a_perfect_map_changes_the_score_at_once_and_a_random_order_does_not(fill):
    images, heat, flat = films(), heat_on_the_patch(), np.zeros((4, SIDE, SIDE), np.float32)
    # The patch is a sixteenth of the film: after the first of 16 steps all of it is gone, or there.
    deletion, insertion = (
        deletion_curve(one_patch, images, heat, n_steps=16, mode=mode, fill=fill) for mode in ("deletion", "insertion")
    )
    np.testing.assert_allclose(deletion[:, 1:], deletion[:, -1:].repeat(16, axis=1), rtol=1e-5)
    np.testing.assert_allclose(insertion[:, 1:], insertion[:, -1:].repeat(16, axis=1), rtol=1e-5)
    assert (deletion[:, 0] > deletion[:, 1] + 0.3).all()
    at_random = [deletion_curve(one_patch, images, flat, n_steps=16, mode=mode, fill=fill) for mode in MODES]
    assert (area_under(deletion) < area_under(at_random[0])).all()
    assert (area_under(insertion) > area_under(at_random[1])).all()


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_deletion_begins_with_the_film_and_insertion_ends_with_it(fill):
    images, heat = films(), np.random.default_rng(0).random((4, SIDE, SIDE))
    deletion, insertion = (deletion_curve(one_patch, images, heat, mode=mode, fill=fill) for mode in MODES)
    assert deletion.shape == (4, 21)
    np.testing.assert_allclose(deletion[:, 0], one_patch(images))
    np.testing.assert_allclose(insertion[:, -1], one_patch(images))
    np.testing.assert_allclose(deletion[:, -1], insertion[:, 0])


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_what_stands_in_has_no_gray_that_the_film_lacks(fill):
    images = films()
    stand_in = FILLS[fill](images)
    assert stand_in.shape == images.shape
    for own, film in zip(stand_in, images, strict=True):
        assert film.min() <= own.min() <= own.max() <= film.max()
        assert own.std() < 0.8 * film.std()
        assert own.mean() == pytest.approx(float(film.mean()), abs=0.05)


def test_random_order_follows_from_seed_and_film_whatever_the_batch():
    images, flat = films(), np.zeros((4, SIDE, SIDE), np.float32)
    together = deletion_curve(one_patch, images, flat, seed=3)
    one_by_one = [deletion_curve(one_patch, images[[row]], flat[:1], seed=3)[0] for row in range(4)]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6)
    assert np.abs(together - deletion_curve(one_patch, images, flat, seed=4)).max() > 0.01
    assert np.abs(np.diff(together - together[:, :1], axis=0)).max() > 0.01


def test_scale_of_the_heat_changes_nothing():
    images, heat = films(), np.random.default_rng(0).normal(size=(4, SIDE, SIDE))
    plain = deletion_curve(one_patch, images, heat)
    np.testing.assert_array_equal(deletion_curve(one_patch, images, 1000 * heat - 5), plain)


def test_encoder_images_and_heat_are_left_as_they_were():
    encoder = build_encoder("resnet9").eval()
    images, heat = films(2), heat_on_the_patch(2)
    kept = {name: value.clone() for name, value in encoder.state_dict().items()}
    kept_images, kept_heat = images.clone(), heat.copy()

    def score(batch):
        assert not torch.is_grad_enabled()
        return encoder(batch)[:, 0]

    curves = deletion_curve(score, images.requires_grad_(), heat, n_steps=3)
    assert curves.shape == (2, 4)
    assert np.isfinite(curves).all()
    assert images.grad is None
    assert all(weight.grad is None and weight.requires_grad for weight in encoder.parameters())
    assert not encoder.training
    assert not any(module._forward_hooks for module in encoder.modules() if isinstance(module, nn.Module))
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, kept[name], rtol=0, atol=0)
    torch.testing.assert_close(images.detach(), kept_images, rtol=0, atol=0)
    np.testing.assert_array_equal(heat, kept_heat)


def test_area_is_the_mean_height():
    curves = np.array([[1.0, 1.0, 1.0], [1.0, 0.5, 0.0], [4.0, 0.0, 0.0]])
    np.testing.assert_allclose(area_under(curves), [1.0, 0.5, 1.0])
    np.testing.assert_allclose(area_under(curves), np.trapezoid(curves, dx=0.5, axis=1))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mode": "removal"}, ValueError, "unknown mode 'removal'; choose from deletion, insertion"),
        ({"fill": "black"}, ValueError, "unknown fill 'black'; choose from blur, mean"),
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ({"n_steps": 2.5}, TypeError, "n_steps must be a whole number, got 2.5"),
        ({"n_steps": 2000}, ValueError, "n_steps must be at most the 1024 pixels of an image, got 2000"),
        ({"heat": heat_on_the_patch(3)}, ValueError, r"of the shape \(N, S, S\) of the images \(4, 1, 32, 32\), got"),
        ({"heat": np.full((4, SIDE, SIDE), np.nan)}, ValueError, "heat must be finite"),
        ({"score": lambda images: images.mean()}, ValueError, r"one number for each of 4 images, got \(\)"),
    ],
)
def test_wrong_input_is_refused(changes, error, message):
    given = {"score": one_patch, "images": films(), "heat": heat_on_the_patch(), **changes}
    with pytest.raises(error, match=message):
        deletion_curve(**given)


def test_area_under_one_point_is_refused():
    with pytest.raises(ValueError, match=r"curves must have the shape \(N, n_steps \+ 1\), got \(3,\)"):
        area_under(np.zeros(3))
