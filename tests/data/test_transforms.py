import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms.functional import adjust_brightness, adjust_contrast

from fewshot_cxr.data import Augmentation, augment, standardise, to_images, to_square
from fewshot_cxr.image_spec import ImageSpec

OFF = {"rotation_degrees": 0, "shift": 0, "zoom": (1, 1), "flip": 0, "gamma": (1, 1), "crop": 1}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(6, 1, 33, 33, generator=generator(9))


@pytest.fixture
def film():
    return np.random.default_rng(0).integers(1, 256, (60, 40), dtype=np.uint8)


def test_bicubic_is_pillows(film):
    whole = ImageSpec(size_px=24, crop="none", resize="bicubic")
    expected = np.array(Image.fromarray(film).resize((24, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(to_square(film, whole), expected)
    assert (to_square(film, ImageSpec(size_px=24, crop="none")) != expected).any()


def test_pad_keeps_the_whole_film_in_its_shape(film):
    padded = to_square(film, ImageSpec(size_px=60, crop="pad"))
    np.testing.assert_array_equal(padded[:, 10:50], film)
    assert not padded[:, :10].any()
    assert not padded[:, 50:].any()
    cut = to_square(film, ImageSpec(size_px=40, crop="pad", top_crop=1 / 3))
    np.testing.assert_array_equal(cut, film[20:])
    bordered = to_square(film, ImageSpec(size_px=30, crop="pad", border_crop=0.25))
    np.testing.assert_array_equal(bordered[:, 0:30], film[15:45, 5:35])


@pytest.mark.parametrize(
    ("n_channels", "mean", "std"), [(1, (0.5,), (0.25,)), (3, (0.4,), (0.2,)), (3, (0.1, 0.2, 0.3), (1, 2, 3))]
)
def test_to_images_by_hand(n_channels, mean, std):
    films = torch.arange(2 * 64, dtype=torch.uint8).reshape(2, 8, 8)
    made = to_images(films, ImageSpec(size_px=8, n_channels=n_channels, mean=mean, std=std))
    assert made.shape == (2, n_channels, 8, 8)
    assert made.dtype == torch.float32
    for channel in range(n_channels):
        one_mean, one_std = mean[channel % len(mean)], std[channel % len(std)]
        torch.testing.assert_close(made[:, channel], (films.float() / 255 - one_mean) / one_std)
    torch.testing.assert_close(
        made, standardise(films.unsqueeze(1) / 255, ImageSpec(8, n_channels, mean=mean, std=std))
    )


@pytest.mark.parametrize("n_channels", [1, 3])
def test_per_pixel_leaves_the_values_to_the_encoder(images, n_channels):
    made = standardise(images, ImageSpec(33, n_channels, per_pixel=True, mean=(0.1,), std=(9,)))
    assert torch.equal(made, images.expand(-1, n_channels, -1, -1))


def test_same_generator_state_same_films(images):
    assert torch.equal(*(augment(images, Augmentation(), generator=generator()) for _ in range(2)))
    assert not torch.equal(*(augment(images, Augmentation(), generator=generator(seed)) for seed in (0, 1)))


def test_all_off_is_identity_and_flip_is_a_flip(images):
    assert torch.allclose(augment(images, Augmentation(**OFF), generator=generator()), images, atol=1e-5)
    flipped = augment(images, Augmentation(**OFF | {"flip": 1}), generator=generator())
    assert torch.allclose(flipped, images.flip(-1), atol=1e-5)


def test_gamma_alone(images):
    made = augment(images, Augmentation(**OFF | {"gamma": (2, 2)}), generator=generator())
    assert torch.allclose(made, images**2, atol=1e-4)


@pytest.mark.parametrize(
    "one", [{"rotation_degrees": 10}, {"shift": 0.1}, {"zoom": (0.8, 1.2)}, {"crop": 0.6}, {"gamma": (0.5, 2)}]
)
def test_films_of_a_batch_draw_their_own_values(images, one):
    same = images[:1].repeat(6, 1, 1, 1)
    made = augment(same, Augmentation(**OFF | one), generator=generator())
    assert all(not torch.allclose(made[0], other, atol=1e-3) for other in made[1:])
    assert made.shape == same.shape


def test_a_film_does_not_see_its_neighbours(images):
    others = images.clone()
    others[1:] = 0
    made, with_others = (augment(batch, Augmentation(crop=0.8), generator=generator()) for batch in (images, others))
    assert torch.equal(made[0], with_others[0])


def test_values_stay_in_range(images):
    made = augment(images, Augmentation(crop=0.5), generator=generator())
    assert made.min() >= 0
    assert made.max() <= 1


def test_the_global_generator_is_left_alone(images):
    before = torch.get_rng_state()
    augment(images, Augmentation(), generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_impossible_ranges():
    with pytest.raises(ValueError, match=r"zoom must be a smallest and a largest value above 0, got \(2, 1\)"):
        Augmentation(zoom=(2, 1))
    with pytest.raises(ValueError, match="flip must be"):
        Augmentation(flip=1.5)


@pytest.mark.gpu
def test_the_same_draw_on_a_gpu(images):
    made = augment(images, Augmentation(), generator=generator())
    torch.testing.assert_close(
        augment(images.cuda(), Augmentation(), generator=generator()).cpu(), made, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtype_is_kept_and_places_are_exact(images, dtype):
    made = augment(images.to(dtype), Augmentation(), generator=generator())
    assert made.dtype == dtype
    full = augment(images, Augmentation(), generator=generator())
    assert (made.float() - full).abs().max() < 0.02


def test_autocast_does_not_blur_the_grid(images):
    plain = augment(images, Augmentation(), generator=generator())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(images, Augmentation(), generator=generator()), plain)


def test_zoom_is_an_enlarged_centre():
    images = torch.rand(3, 1, 32, 32, generator=generator(1))
    made = augment(images, Augmentation(**OFF | {"zoom": (2, 2)}), generator=generator())
    slow = functional.interpolate(images[..., 7:25, 7:25], scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]
    torch.testing.assert_close(made, slow, atol=1e-5, rtol=0)


def test_shift_moves_and_repeats_the_border():
    ramp = torch.linspace(0.25, 0.75, 64).expand(50, 1, 64, 64)
    made = augment(ramp, Augmentation(**OFF | {"shift": 0.25}), generator=generator())
    moved = (made[:, 0, 32, 32] - ramp[0, 0, 0, 32]) / (0.5 / 63) / 64  # in sides
    assert moved.abs().max() <= 0.25
    assert moved.min() < -0.2
    assert moved.max() > 0.2
    assert made.min() >= 0.25 - 1e-6  # black never enters


def test_rotation_turns_by_no_more_than_it_may():
    images = torch.zeros(40, 1, 65, 65)
    images[:, :, 32, 52] = 1  # 20 pixels right of the centre
    made = augment(images, Augmentation(**OFF | {"rotation_degrees": 30}), generator=generator())[:, 0]
    places = torch.stack([(film == film.max()).nonzero()[0] - 32 for film in made]).float()
    assert (places.norm(dim=1) - 20).abs().max() < 1.5
    angles = torch.rad2deg(torch.atan2(places[:, 0], places[:, 1]))
    assert angles.abs().max() <= 32
    assert angles.min() < -20
    assert angles.max() > 20


def test_crop_keeps_inside_the_film():
    ramp = torch.linspace(0, 1, 64).expand(50, 1, 64, 64)
    made = augment(ramp, Augmentation(**OFF | {"crop": 0.5}), generator=generator())[:, 0, 0]
    kept = (made[:, -2] - made[:, 1]) / (ramp[0, 0, 0, -2] - ramp[0, 0, 0, 1])
    assert 0.5 <= kept.min() < 0.55
    assert 0.95 < kept.max() <= 1.0 + 1e-4
    assert ((made[:, 1:] - made[:, :-1])[:, 1:-1] > 1e-4).all()  # no border is repeated


def test_flip_takes_about_its_share():
    images = torch.rand(1, 1, 16, 16, generator=generator(2)).repeat(2000, 1, 1, 1)
    made = augment(images, Augmentation(**OFF | {"flip": 0.3}), generator=generator())
    assert ((made - images).abs().amax(dim=(1, 2, 3)) > 0.01).float().mean() == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("one", [{"rotation_degrees": -1}, {"shift": -0.1}, {"shift": float("nan")}])
def test_ranges_below_nothing(one):
    with pytest.raises(ValueError, match=rf"{next(iter(one))} must be in 0\.\."):
        Augmentation(**one)


def test_no_films():
    assert to_images(torch.zeros(0, 8, 8, dtype=torch.uint8), ImageSpec(size_px=8)).shape == (0, 1, 8, 8)


def augment_as_published(images, augmentation, generator):
    """What `augment` was before there were brightness, contrast, stretch and fill, written down."""

    def uniform(low, high):
        return torch.empty(len(images)).uniform_(low, high, generator=generator)

    angle = uniform(-augmentation.rotation_degrees, augmentation.rotation_degrees) * (math.pi / 180)
    kept = uniform(augmentation.crop, 1.0)
    scale = kept / uniform(*augmentation.zoom)
    mirror = torch.where(torch.rand(len(images), generator=generator) < augmentation.flip, -1.0, 1.0)
    moves = [2 * uniform(-augmentation.shift, augmentation.shift) + (1 - kept) * uniform(-1, 1) for _ in range(2)]
    rows = (
        torch.stack([scale * angle.cos() * mirror, -scale * angle.sin(), moves[0]], dim=1),
        torch.stack([scale * angle.sin() * mirror, scale * angle.cos(), moves[1]], dim=1),
    )
    exponent = uniform(*augmentation.gamma).view(-1, 1, 1, 1)
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved.clamp(0, 1) ** exponent


@pytest.mark.parametrize("settings", [{}, {"crop": 0.8}, {"rotation_degrees": 20, "gamma": (1, 1)}])
def test_results_from_before_the_newer_settings_repeat(images, settings):
    now, before = generator(3), generator(3)
    augmentation = Augmentation(**settings)
    assert torch.equal(augment(images, augmentation, generator=now), augment_as_published(images, augmentation, before))
    assert torch.equal(now.get_state(), before.get_state())


def test_numbers_of_an_earlier_version():
    images, drawing = torch.linspace(0, 1, 4 * 81).reshape(4, 1, 9, 9), generator(3)
    made = augment(images, Augmentation(crop=0.8), generator=drawing)
    assert made[:, 0, 4, 2].tolist() == pytest.approx([0.155492425, 0.455244452, 0.698478639, 0.895998597], abs=1e-6)
    assert torch.randint(10**6, (3,), generator=drawing).tolist() == [480773, 125800, 846062]


@pytest.mark.parametrize("newer", [{"brightness": (0.9, 1.1)}, {"contrast": (0.5, 1.5)}, {"stretch": 0.1}])
def test_a_newer_setting_leaves_the_older_draws_alone(images, newer):
    dark = images * 0.5
    older = augment(dark, Augmentation(), generator=generator())
    made = augment(dark, Augmentation(**newer), generator=generator())
    assert not torch.equal(made, older)
    if "brightness" in newer:
        factors = made / older
        torch.testing.assert_close(factors.amin(dim=(1, 2, 3)), factors.amax(dim=(1, 2, 3)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.5])
def test_brightness_and_contrast_are_torchvisions(images, factor):
    for name, adjust in (("brightness", adjust_brightness), ("contrast", adjust_contrast)):
        made = augment(images, Augmentation(**OFF | {name: (factor, factor)}), generator=generator())
        torch.testing.assert_close(made, adjust(images, factor), atol=1e-5, rtol=0)


def extents(made):
    """Width and height of what is not black on each film, as a share of the side."""
    return [(made > 0.5).any(dim=axis).float().mean(dim=-1)[:, 0] for axis in (2, 3)]


def test_stretch_shrinks_one_axis_and_cuts_none():
    white = torch.ones(300, 1, 64, 64)
    made = augment(white, Augmentation(**OFF | {"stretch": 0.25, "fill": "black"}), generator=generator())
    widths, heights = extents(made)
    assert torch.maximum(widths, heights).min() == 1
    assert 0.73 <= widths.min() < 0.8
    assert 0.78 <= heights.min() < 0.84  # 1 / 1.25
    assert 0.3 < (widths < 1).float().mean() < 0.7


def test_black_fill_alone_brings_black():
    white = torch.ones(20, 1, 32, 32)
    options = OFF | {"rotation_degrees": 30, "shift": 0.2}
    assert augment(white, Augmentation(**options), generator=generator()).min() > 0.99
    assert augment(white, Augmentation(**options | {"fill": "black"}), generator=generator()).min() == 0


COVID_NET = Augmentation(
    rotation_degrees=10, shift=0.1, zoom=(0.85, 1.15), brightness=(0.9, 1.1), flip=0.5, gamma=(1, 1), stretch=0.1,
    fill="black",
)  # fmt: skip
COLOUR_JITTER = Augmentation(**OFF | {"brightness": (0.5, 1.5), "contrast": (0.5, 1.5), "rotation_degrees": 20})


@pytest.mark.parametrize("augmentation", [COVID_NET, COLOUR_JITTER], ids=["COVID-Net", "ColorJitter"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_published_settings(images, augmentation, dtype):
    made = augment(images.to(dtype), augmentation, generator=generator())
    assert (made.shape, made.dtype) == (images.shape, dtype)
    assert 0 <= made.min() <= made.max() <= 1
    assert torch.equal(made, augment(images.to(dtype), augmentation, generator=generator()))


@pytest.mark.parametrize("rows", [[], [2], [0, 3, 5], range(6)])
def test_chosen_films_alone_change_and_draw_as_ever(images, rows):
    chosen = torch.zeros(6, dtype=torch.bool)
    chosen[list(rows)] = True
    everything = augment(images, COVID_NET, generator=generator())
    made = augment(images, COVID_NET, generator=generator(), chosen=chosen)
    assert torch.equal(made[chosen], everything[chosen])
    assert torch.equal(made[~chosen], images[~chosen])


def test_chosen_is_one_claim_for_each_film(images):
    with pytest.raises(ValueError, match=r"^chosen must be bool of shape \(6,\), got torch.int64 of \(6,\)$"):
        augment(images, Augmentation(), generator=generator(), chosen=torch.ones(6, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"got torch.bool of \(1,\)$"):
        augment(images, Augmentation(), generator=generator(), chosen=torch.ones(1, dtype=torch.bool))


def test_newer_ranges_are_checked_and_lists_taken():
    assert Augmentation(brightness=[0.9, 1.1]) == Augmentation(brightness=(0.9, 1.1))
    with pytest.raises(ValueError, match=r"contrast must be a smallest and a largest value above 0, got \(0, 1\)"):
        Augmentation(contrast=(0, 1))
    with pytest.raises(ValueError, match=r"stretch must be in 0\.\.0\.5, got 1"):
        Augmentation(stretch=1)
    with pytest.raises(ValueError, match=r"unknown fill 'blak' \(did you mean 'black'\?\); choose from black, edge"):
        Augmentation(fill="blak")
