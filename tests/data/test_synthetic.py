import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.stats import chi2_contingency

from fewshot_cxr.data.synthetic import SCANNERS, SYNTHETIC_FINDINGS, draw_film, make_synthetic
from fewshot_cxr.data.synthetic.anatomy import (
    draw_patient,
    draw_pose,
    film_pixels,
    outline_chest,
    patient_coordinates,
    pose_patient,
)
from fewshot_cxr.data.synthetic.films import _plan, draw_film_and_lungs
from fewshot_cxr.data.synthetic.signs import enlarge_heart

SIZE_PX = 96
N_TWINS = 24


def draw(finding, patient=3, film=0, seed=0, source="hospital_a", size_px=SIZE_PX):
    return draw_film(finding, seed=seed, patient=patient, film=film, source=source, size_px=size_px)


def chest_of(patient, size_px=SIZE_PX):
    pose = draw_pose(0, patient, 0, portable=False)
    return outline_chest(draw_patient(0, patient), pose, size_px)


@pytest.fixture(scope="module")
def added():
    """How many grays each finding adds to the film of the same patient without it: finding -> (N_TWINS, side, side)."""
    normal = np.stack([draw("normal", patient=patient) for patient in range(N_TWINS)]).astype(float)
    sick = {name: np.stack([draw(name, patient=patient) for patient in range(N_TWINS)]) for name in SYNTHETIC_FINDINGS}
    return {name: films - normal for name, films in sick.items()}


@pytest.fixture(scope="module")
def lungs():
    return [chest_of(patient) for patient in range(N_TWINS)]


@pytest.mark.parametrize("source", sorted(SCANNERS))
@pytest.mark.parametrize("finding", SYNTHETIC_FINDINGS)
def test_film_is_gray_square_and_repeatable(finding, source):
    image = draw(finding, source=source)
    assert image.dtype == np.uint8
    assert image.shape == (SIZE_PX, SIZE_PX)
    assert image.std() > 20
    assert (image == 255).mean() < 0.15
    np.testing.assert_array_equal(image, draw(finding, source=source))


@pytest.mark.parametrize("change", [{"seed": 1}, {"patient": 4}, {"film": 1}, {"source": "hospital_c"}])
def test_each_key_changes_the_film(change):
    assert np.abs(draw("normal").astype(float) - draw("normal", **change)).mean() > 1


@pytest.mark.parametrize("size_px", [32, 97, 256])
def test_size_changes_the_sharpness_not_the_picture(size_px):
    def thumbnail(image):
        return np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BOX)).astype(float)

    large, small = thumbnail(draw("effusion", size_px=192)), thumbnail(draw("effusion", size_px=size_px))
    assert np.corrcoef(large.ravel(), small.ravel())[0, 1] > 0.97


def test_films_of_a_patient_share_the_anatomy_and_differ_in_pose():
    assert draw_patient(0, 5) == draw_patient(0, 5) != draw_patient(0, 6)
    assert len({draw_pose(0, 5, film, portable=False) for film in range(4)}) == 4
    # Seen in the patient's own coordinates, two poses show one and the same chest wall.
    outers = []
    for film in range(4):
        chest = outline_chest(draw_patient(0, 5), draw_pose(0, 5, film, portable=False), SIZE_PX)
        level = np.abs(chest.down - 0.3) < 0.02
        outers.append((chest.wall + chest.side)[level].mean())
    assert np.ptp(outers) < 1e-3


def test_way_to_the_pixel_undoes_the_way_to_the_patient():
    pose = draw_pose(0, 1, 2, portable=True)
    across, down = patient_coordinates(pose, SIZE_PX)
    pixels = film_pixels(pose, np.stack((across, down), axis=-1), SIZE_PX)
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX]
    np.testing.assert_allclose(pixels, np.stack((columns, rows), axis=-1), atol=1e-3)


def test_lungs_are_darker_than_what_surrounds_them():
    for patient in range(5):
        image, chest = draw("normal", patient=patient), chest_of(patient)
        assert image[chest.lungs > 0.9].mean() < image[chest.central > 0.9].mean() - 40


def test_a_large_heart_fills_more_than_55_percent_of_the_chest():
    for patient in range(60):
        normal = draw_patient(0, patient)
        large = enlarge_heart("cardiomegaly", normal, 0, patient)
        assert large.heart_ratio > 0.55 > 0.5 >= normal.heart_ratio
        assert enlarge_heart("effusion", normal, 0, patient) == normal


def test_the_drawn_heart_has_the_ratio_it_was_given():
    pose = draw_pose(0, 0, 0, portable=False)
    for patient in range(20):
        measures = enlarge_heart("cardiomegaly", draw_patient(0, patient), 0, patient)
        chest = outline_chest(measures, pose, 256)
        below_hilum = (chest.down > 0) & (chest.above_dome > 0)
        heart = np.ptp(chest.across[(chest.central > 0.5) & below_hilum])
        thorax = np.ptp(chest.across[(chest.wall > 0) & below_hilum])
        assert heart / thorax == pytest.approx(measures.heart_ratio, abs=0.03)


def test_normal_adds_nothing_and_a_large_heart_brightens_its_border(added, lungs):
    assert not added["normal"].any()
    for grown, chest in zip(added["cardiomegaly"], lungs, strict=True):
        rim = (chest.lungs > 0.8) & (chest.across > 0) & (chest.side < 0.5) & (chest.down > 0.1)
        upper = (chest.lungs > 0.8) & (chest.down < -0.3)
        assert grown[rim].mean() > grown[upper].mean() + 3


def test_effusion_brightens_the_lower_lung_of_one_side_at_least(added, lungs):
    for fluid, chest in zip(added["effusion"], lungs, strict=True):
        upper = (chest.lungs > 0.8) & (chest.down < -0.3)
        angles = [(chest.lungs > 0.3) & (chest.above_angle < 0.25) & (half * chest.across > 0) for half in (-1, 1)]
        assert max(fluid[angle].mean() for angle in angles) > fluid[upper].mean() + 8


def test_consolidation_keeps_to_one_lung(added, lungs):
    for shadow, chest in zip(added["lobar_consolidation"], lungs, strict=True):
        right, left = (shadow[(chest.lungs > 0.8) & (half * chest.across > 0)].mean() for half in (-1, 1))
        assert max(right, left) > 1
        assert abs(min(right, left)) < 0.2 * max(right, left) + 1


def test_ground_glass_lies_in_both_lungs_along_the_wall(added, lungs):
    for haze, chest in zip(added["peripheral_ground_glass"], lungs, strict=True):
        air = chest.lungs > 0.8
        for half in (-1, 1):
            rim = haze[air & (chest.wall < 0.25) & (half * chest.across > 0)].mean()
            hilum = haze[air & (chest.wall > 0.35) & (half * chest.across > 0)].mean()
            assert rim > max(hilum, 0) + 1


def test_interstitial_net_lies_in_both_lungs_and_is_densest_below(added, lungs):
    for net, chest in zip(added["bilateral_interstitial"], lungs, strict=True):
        air = chest.lungs > 0.8
        for half in (-1, 1):
            assert net[air & (half * chest.across > 0)].mean() > 1
        assert net[air & (chest.down > 0.1)].mean() > net[air & (chest.down < -0.3)].mean()


def test_severity_runs_from_faint_to_obvious(added, lungs):
    for finding in set(SYNTHETIC_FINDINGS) - {"normal", "cardiomegaly"}:
        sizes = [change[chest.lungs > 0.5].mean() for change, chest in zip(added[finding], lungs, strict=True)]
        assert max(sizes) > 2.2 * min(sizes), finding


def test_set_on_disk_equals_its_records(tmp_path):
    calls = []
    records = make_synthetic(
        tmp_path, n_patients=3, size_px=48, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(done, len(records)) for done in range(1, len(records) + 1)]
    assert records.findings == tuple(sorted(SYNTHETIC_FINDINGS))
    named = {film.path for film in records} | {film.mask_path for film in records}
    assert named == {str(path.relative_to(tmp_path).as_posix()) for path in tmp_path.rglob("*.*")}
    for film in records:
        for path in (film.path, film.mask_path):
            with Image.open(tmp_path / path) as image:
                assert (image.mode, image.size, image.format) == ("L", (48, 48), "PNG")
        assert film.mask_path == film.path.replace("films/", "masks/")
        assert film.view in ("PA", "AP")
        assert film.attributes["marker"] in ("L", "R")
        assert film.attributes["scanner"] == SCANNERS[film.source].name
    first = records[0]
    drawn = draw_film(first.finding, seed=0, patient=int(first.patient_id[1:]), film=0, source=first.source, size_px=48)
    np.testing.assert_array_equal(np.asarray(Image.open(records.file(first))), drawn)


def test_mask_is_the_lungs_of_its_own_film(tmp_path):
    records = make_synthetic(tmp_path, n_patients=2, findings=("normal", "effusion", "cardiomegaly"), size_px=SIZE_PX)
    for film in records:
        mask = np.asarray(Image.open(tmp_path / film.mask_path))
        assert set(np.unique(mask)) == {0, 255}
        number = int(film.path[-5])
        patient = int(film.patient_id[1:])
        measures = enlarge_heart(film.finding, draw_patient(0, patient), 0, patient)
        pose = draw_pose(0, patient, number, portable=SCANNERS[film.source].is_portable)
        chest = outline_chest(pose_patient(measures, pose), pose, SIZE_PX)
        np.testing.assert_array_equal(mask > 0, chest.lungs > 0.5)
        assert ndimage.label(mask)[1] == 2
        assert 0.15 < (mask > 0).mean() < 0.45
        if film.finding == "normal":
            image = np.asarray(Image.open(records.file(film))).astype(float)
            assert image[mask > 0].mean() < image[chest.central > 0.9].mean() - 30


def test_film_drawn_with_its_lungs_is_the_film_drawn_alone():
    keys = {"seed": 2, "patient": 4, "film": 1, "source": "hospital_b", "size_px": 64}
    image, lungs = draw_film_and_lungs("effusion", **keys)
    np.testing.assert_array_equal(image, draw_film("effusion", **keys))
    assert lungs.dtype == bool
    assert lungs.shape == image.shape


def test_a_film_depends_on_neither_the_number_of_patients_nor_the_other_findings(tmp_path):
    counts = {"effusion": 1, "normal": 2}
    few = make_synthetic(tmp_path / "few", n_patients=counts, findings=("effusion", "normal"), size_px=32)
    many = make_synthetic(tmp_path / "many", n_patients=3, findings=("cardiomegaly", "normal", "effusion"), size_px=32)
    bytes_of_many = {film: many.file(film).read_bytes() for film in many}
    assert len(few) < len(many)
    for film in few:
        assert few.file(film).read_bytes() == bytes_of_many[film]


@pytest.fixture(scope="module")
def plan():
    return [record for finding in SYNTHETIC_FINDINGS for record, _, _ in _plan(finding, 200, 0)]


def test_patients_have_one_finding_one_source_and_1_to_4_films(plan):
    films = {}
    for record in plan:
        films.setdefault(record.patient_id, []).append(record)
    assert len(films) == 200 * len(SYNTHETIC_FINDINGS)
    assert {len(own) for own in films.values()} == {1, 2, 3, 4}
    assert all(len({(record.finding, record.source) for record in own}) == 1 for own in films.values())


@pytest.mark.parametrize("what", ["source", "view", "marker"])
def test_finding_tells_nothing_about_source_view_or_marker(plan, what):
    first_films = {record.patient_id: record for record in reversed(plan)}.values()
    values = [record.attributes["marker"] if what == "marker" else getattr(record, what) for record in first_films]
    columns = sorted(set(values))
    table = np.zeros((len(SYNTHETIC_FINDINGS), len(columns)))
    for record, value in zip(first_films, values, strict=True):
        table[SYNTHETIC_FINDINGS.index(record.finding), columns.index(value)] += 1
    assert table.min() > 20
    assert chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"findings": ("normal", "efusion")}, r"unknown finding 'efusion' \(did you mean 'effusion'\?\); choose from"),
        ({"findings": ()}, r"findings must be one or more different names of normal, .*; got \(\)"),
        ({"findings": "normal"}, "one or more different names"),
        ({"findings": ("normal", "normal")}, "one or more different names"),
        ({"n_patients": 0}, "n_patients of normal must be at least 1, got 0"),
        ({"n_patients": {"normal": 3}}, r"n_patients must count exactly the findings .*, got \['normal'\]"),
        ({"size_px": 31}, "size_px must be at least 32, got 31"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_unknown_names_are_answered_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown finding 'flu'; choose from bilateral_interstitial, cardiomegaly"):
        draw("flu")
    with pytest.raises(ValueError, match=r"unknown source 'hospital_d' \(did you mean 'hospital_.'\?\); choose from"):
        draw("normal", source="hospital_d")


def test_a_stop_in_the_middle_leaves_whole_films_only(tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_synthetic(tmp_path, n_patients=2, size_px=32, progress=stop)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 4  # two films and their masks
    for path in written:
        with Image.open(path) as image:
            image.load()


# Of the pixels, as two machines draw them.
DEMO = {
    "f6660930d84349bdfeaf021c44eb7b6aac0e2db31263a3b23840cd24e8390584",
    "9514e294773a407fcac974140b7766f1c9c1d7eb3dbe61fefd341320b69918c1",
}


def test_the_films_of_the_demo_are_still_the_same(tmp_path):
    # Numbers of two releases compare only on the same films. A film depends on seed, finding, patient and number alone.
    films = make_synthetic(tmp_path, n_patients=2, seed=0)
    pixels = hashlib.sha256(b"".join(np.asarray(Image.open(films.file(film))).tobytes() for film in films))
    assert len(films) == 31
    assert pixels.hexdigest() in DEMO
