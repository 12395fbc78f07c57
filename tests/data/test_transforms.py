import pytest
import torch
from torch.nn import functional

from fewshot_cxr.data import Augmentation, augment, standardise, to_images
from fewshot_cxr.image_spec import ImageSpec

OFF = {"rotation_degrees": 0, "shift": 0, "zoom": (1, 1), "flip": 0, "gamma": (1, 1), "crop": 1}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(6, 1, 33, 33, generator=generator(9))


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
