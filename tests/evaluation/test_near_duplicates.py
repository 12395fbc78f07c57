import csv
import re
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from fewshot_cxr.data import is_image_name, read_gray
from fewshot_cxr.data.synthetic import SCANNERS, draw_film
from fewshot_cxr.evaluation.audit import near_duplicates as near_duplicates_module
from fewshot_cxr.evaluation.audit.near_duplicates import (
    MIN_CORRELATION,
    NearPair,
    confirm,
    fingerprint,
    near_duplicates,
)
from fewshot_cxr.evaluation.audit.perceptual_hash import candidate_pairs, perceptual_hash
from fewshot_cxr.evaluation.audit.registration import registered_correlations

SIZE_PX = 192
N_PATIENTS = 12


def registered_correlation(a, b):
    return float(registered_correlations(np.stack([a, b]), np.array([[0, 1]]))[0])


@cache
def draw(patient, film=0, source="hospital_a"):
    return draw_film("normal", seed=0, patient=patient, film=film, source=source, size_px=SIZE_PX)


def resized(gray, width, height):
    return np.asarray(Image.fromarray(gray).resize((width, height), Image.Resampling.BICUBIC))


def as_jpeg(gray):
    file = BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def brightened(gray):
    return np.clip(gray * 1.15 + 10, 0, 255).astype(np.uint8)


def cropped(gray, share=0.03):
    n = round(share * min(gray.shape))
    return gray[n:-n, n:-n]


CHANGES = {
    "half the size": lambda gray: resized(gray, SIZE_PX // 2, SIZE_PX // 2),
    "another aspect": lambda gray: resized(gray, 200, 150),
    "JPEG": as_jpeg,
    "brightened": brightened,
    "gamma": lambda gray: np.round(255 * (gray / 255) ** 0.8).astype(np.uint8),
    "strong gamma": lambda gray: np.round(255 * (gray / 255) ** 2.5).astype(np.uint8),
    "equalised": lambda gray: np.asarray(ImageOps.equalize(Image.fromarray(gray))),
    "equalised and cropped": lambda gray: np.asarray(ImageOps.equalize(Image.fromarray(cropped(gray, 0.02)))),
    "cropped": cropped,
    "cropped at two sides": lambda gray: gray[5:, 5:],
    "bordered": lambda gray: np.pad(gray, 5),
    "all at once": lambda gray: as_jpeg(brightened(resized(cropped(gray), 128, 128))),
}


def stacked(films):
    hashes, small = zip(*map(fingerprint, films), strict=True)
    return np.array(hashes), np.stack(small)


def all_close(hashes, max_hamming):
    """Slow oracle: every pair."""
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return np.argwhere(np.triu(apart <= max_hamming, 1))


def planted_hashes(n_films=600, seed=0):
    """Random hashes of which every third is a neighbour, 0..15 bits away, of an earlier one."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n_films, dtype=np.uint64)
    for row in range(2, n_films, 3):
        bits = rng.choice(64, size=rng.integers(0, 16), replace=False).astype(np.uint64)
        hashes[row] = hashes[rng.integers(row)] ^ np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0))
    return hashes


def chest_like_hashes(n_films=400, n_bits=14):
    """Hashes that differ in a few bits only: every bucket is crowded."""
    return np.random.default_rng(1).integers(0, 2**n_bits, n_films, dtype=np.uint64) * np.uint64(0x10001)


@pytest.mark.parametrize("max_hamming", [0, 3, 4, 10, 15])
@pytest.mark.parametrize("hashes", [planted_hashes(), chest_like_hashes()], ids=["planted", "crowded"])
def test_candidates_are_exactly_the_close_pairs(hashes, max_hamming):
    pairs, hamming = candidate_pairs(hashes, max_hamming=max_hamming)
    assert np.array_equal(pairs, all_close(hashes, max_hamming))
    assert len(pairs) > 2
    assert hamming.tolist() == [int(hashes[a] ^ hashes[b]).bit_count() for a, b in pairs]


def test_candidates_are_the_same_in_any_row_order():
    hashes = planted_hashes()
    order = np.random.default_rng(2).permutation(len(hashes))
    there = {frozenset(pair) for pair in candidate_pairs(hashes)[0].tolist()}
    back = {frozenset(order[pair].tolist()) for pair in candidate_pairs(hashes[order])[0]}
    assert back == there


@pytest.mark.parametrize("n_films", [0, 1])
def test_no_two_films_are_no_pairs(n_films):
    pairs, hamming = candidate_pairs(np.zeros(n_films, np.uint64))
    assert (pairs.shape, pairs.dtype, hamming.shape) == ((0, 2), np.int64, (0,))


def test_identical_hashes_are_chained_and_stay_connected_to_their_neighbours():
    hashes = np.concatenate((np.full(5000, 7, np.uint64), np.full(3, 6, np.uint64), [np.uint64(2**63)]))
    pairs, hamming = candidate_pairs(hashes, max_hamming=2)
    inside = pairs[(pairs < 5000).all(1)]
    assert np.array_equal(inside, np.stack((np.arange(4999), np.arange(1, 5000)), axis=1))
    outside = [*zip(pairs.tolist(), hamming.tolist(), strict=True)][4999:]
    assert sorted(((a, b), bits) for (a, b), bits in outside if a >= 5000) == [
        ((5000, 5001), 0),
        ((5000, 5002), 0),
        ((5001, 5002), 0),
    ]
    across = [(a, b) for a, b in pairs.tolist() if a < 5000 <= b]
    assert across == [(0, 5000), (0, 5001), (0, 5002)]


def test_where_too_many_are_close_only_the_closest_are_compared():
    hashes = chest_like_hashes()
    assert len(all_close(hashes, 7)) < 3000 < len(all_close(hashes, 8))
    with pytest.warns(UserWarning, match="only hashes within 7 bits, not 10, are compared; a larger most_pairs"):
        pairs, hamming = candidate_pairs(hashes, most_pairs=3000)
    assert np.array_equal(pairs, all_close(hashes, 7))
    assert hamming.max() <= 7


def test_of_several_hashes_the_closest_counts():
    hashes = np.stack((planted_hashes(), planted_hashes(seed=1)), axis=1)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]).min(axis=2)
    pairs, hamming = candidate_pairs(hashes, max_hamming=8)
    assert np.array_equal(pairs, np.argwhere(np.triu(apart <= 8, 1)))
    assert np.array_equal(hamming, apart[*pairs.T])


@pytest.mark.parametrize(
    ("hashes", "max_hamming", "message"),
    [
        (np.zeros(3, np.uint64), 65, "max_hamming must be in 0..64, got 65"),
        (np.zeros(3, np.uint64), -1, "max_hamming must be in 0..64, got -1"),
        (np.zeros(3, np.int64), 10, "hashes must be uint64 (n,) or (n, k), got int64 (3,)"),
        (np.zeros((3, 2, 1), np.uint64), 10, "hashes must be uint64 (n,) or (n, k), got uint64 (3, 2, 1)"),
    ],
)
def test_candidates_refuse_what_is_no_hash(hashes, max_hamming, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        candidate_pairs(hashes, max_hamming=max_hamming)


@pytest.mark.parametrize("gray", [0, 77, 255])
@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (301, 77)])
def test_blank_films_have_no_bits_and_are_no_duplicates(gray, shape):
    hashes, small = fingerprint(np.full(shape, gray, np.uint8))
    assert (hashes.tolist(), hashes.dtype) == ([0, 0], np.uint64)
    assert (small.shape, small.dtype) == ((64, 64), np.uint8)
    assert registered_correlation(small, small) == 0
    assert near_duplicates(np.stack([hashes] * 3), np.stack([small] * 3)) == ()


@pytest.mark.parametrize("film", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
def test_fingerprint_refuses_what_is_no_film(film):
    with pytest.raises(ValueError, match="a film must be uint8"):
        fingerprint(film)
    with pytest.raises(ValueError, match="a film must be uint8"):
        perceptual_hash(film)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.slow
def test_a_changed_film_is_found_among_others(change):
    films = [draw(patient) for patient in range(N_PATIENTS)]
    pairs = near_duplicates(*stacked([*films, *map(CHANGES[change], films)]))
    assert all(pair.b == pair.a + N_PATIENTS for pair in pairs)
    # The hash, not the correlation, misses some re-crops.
    assert len(pairs) >= N_PATIENTS - 2
    for film in films:
        small = np.stack([fingerprint(film)[1], fingerprint(CHANGES[change](film))[1]])
        assert confirm(small, np.array([[0, 1]])) > MIN_CORRELATION


@pytest.mark.parametrize("source", sorted(SCANNERS))
def test_two_films_of_one_patient_are_two(source):
    films = [draw(patient, film, source) for patient in range(N_PATIENTS) for film in range(2)]
    assert near_duplicates(*stacked(films)) == ()


def test_correlation_is_symmetric_and_knows_contrast():
    film, other = fingerprint(draw(1))[1], fingerprint(cropped(draw(1)))[1]
    there = registered_correlation(film, other)
    assert there == registered_correlation(other, film)
    darker = (other // 2 + 40).astype(np.uint8)
    assert registered_correlation(film, darker) == pytest.approx(there, abs=0.02)
    assert registered_correlation(film, film) == pytest.approx(1, abs=1e-3)
    assert registered_correlation(film, 255 - film) == 0


def test_near_pairs_do_not_depend_on_the_row_order():
    films = [draw(patient) for patient in range(4)]
    hashes, small = stacked([*films, cropped(films[2]), as_jpeg(films[0])])
    order = np.array([5, 3, 4, 0, 1, 2])
    there = near_duplicates(hashes, small)
    back = near_duplicates(hashes[order], small[order])
    assert [(pair.a, pair.b) for pair in there] == [(0, 5), (2, 4)]
    assert [(pair.a, pair.b) for pair in back] == [(0, 3), (2, 5)]
    assert [pair.correlation for pair in back] == pytest.approx([pair.correlation for pair in there])
    assert isinstance(there[0], NearPair)


def test_progress_reaches_the_number_of_candidates(monkeypatch):
    monkeypatch.setattr(near_duplicates_module, "_MOST_PAIRS", 128)
    calls = []
    film = fingerprint(draw(0))
    near_duplicates(np.array([film[0]] * 20), np.stack([film[1]] * 20), progress=lambda *done: calls.append(done))
    assert calls == [(128, 190), (190, 190)]


def test_every_film_needs_its_hash():
    with pytest.raises(ValueError, match="^each film needs its hash, got 3 hashes of 2 small films$"):
        near_duplicates(np.zeros(3, np.uint64), np.zeros((2, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="^min_correlation must be at least -1, got nan$"):
        near_duplicates(np.zeros((2, 2), np.uint64), np.zeros((2, 64, 64), np.uint8), min_correlation=float("nan"))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 64, 60), r"^small films must be a stack \(n, S, S\) of one even side, got \(2, 64, 60\)$"),
        ((2, 33, 33), r"^small films must be a stack \(n, S, S\) of one even side, got \(2, 33, 33\)$"),
        ((64, 64), r"^small films must be a stack \(n, S, S\) of one even side, got \(64, 64\)$"),
        ((2, 16, 16), "^the side of a small film must be at least 32, got 16$"),
    ],
)
def test_correlation_refuses_other_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        registered_correlations(np.zeros(shape, np.uint8), np.array([[0, 1]]))


def test_pairs_are_divided_by_the_films_that_they_share():
    films = np.arange(600)
    pairs = np.array([(a, b) for a in films for b in films[a + 1 :: 7]])
    parts = near_duplicates_module._parts(pairs)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(pairs)))
    assert max(map(len, parts)) <= 4096
    assert all(len(np.unique(pairs[part] // 256, axis=0)) == 1 for part in parts)


# The lists that come with the sets are short of some pairs that the eye calls one exposure: re-cropped, re-contrasted,
# with arrows or a day drawn in. No threshold leaves these out and keeps the listed ones.
@pytest.mark.parametrize(("name", "n_listed", "n_more"), [("cxr3", 1, 1), ("cxr_ieee8023", 8, 8)])
def test_real_films(fscxr_data, name, n_listed, n_more):
    root = fscxr_data / name
    files = [file for file in sorted(root.rglob("*")) if is_image_name(file.name)]
    names = [file.relative_to(root).as_posix() for file in files]
    with open(root / "near_duplicates.csv", newline="", encoding="utf-8") as lines:
        listed = {frozenset((row["a"], row["b"])) for row in csv.DictReader(lines)}
    pairs = near_duplicates(*stacked(map(read_gray, files)), min_correlation=0.92)
    found = {frozenset((names[pair.a], names[pair.b])): pair.correlation for pair in pairs}
    assert len(listed) == n_listed
    assert listed <= set(found)
    assert len(found) == n_listed + n_more
    assert min(found[pair] for pair in listed) > 0.985
    assert min(found.values()) > 0.95
