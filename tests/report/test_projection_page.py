import base64
import hashlib
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from fewshot_cxr.report.projection_page import projection_page
from fewshot_cxr.visualise.projection import Projection
from fewshot_cxr.visualise.projection_figure import projection_figure
from fewshot_cxr.visualise.style import contrast_ratio

EVIL = "</script><script>alert(1)</script>\"'&<!--"
POINTS = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 2.0], [1.0, 0.5]])
GROUPS = {"finding": ["normal", EVIL, "normal", "normal"], "patient": ["a", "b", "c", "d"]}
SETTINGS = {"seed": 0, "distance": "euclidean", "variance_shares": (0.6, 0.4), "n_trusted": 0}
PATHS = [f"films/{EVIL}.png", "b.png", "c.png", "d.png"]


def made(points=POINTS, **changes):
    values = {"groups": GROUPS, "paths": PATHS, "thumbnails": None, "title": f"A map of {EVIL}"}
    return projection_page(points, **values | changes)


def data_of(html):
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, flags=re.DOTALL)
    return json.loads(block)


def test_names_are_data():
    html = made(lead=(EVIL,))
    assert html.count("<script") == html.count("</script") == 2
    assert "alert(1)</script" not in html
    assert "<!--" not in html
    data = data_of(html)
    assert data["paths"] == PATHS
    for kind, (name, groups) in zip(data["kinds"], GROUPS.items(), strict=True):
        assert kind["name"] == name
        assert [kind["names"][code] for code in kind["codes"]] == groups


def names_of(n_each):
    return [name for name, n_films in n_each.items() for _ in range(n_films)]


def test_groups_look_as_they_do_in_the_figures():
    # In order of size "normal" would be first, in order of names "covid19" is.
    findings = names_of({"normal": 4, "covid19": 2, "finding 10": 1, "finding 9": 1, "": 1})
    groups = {"finding": findings, "patient": [f"p{place}" for place in range(9)]}
    data = data_of(made(np.zeros((9, 2)), groups=groups, paths=findings))
    assert data["kinds"][0]["names"] == ["covid19", "finding 9", "finding 10", "normal", "not stated"]
    projection = Projection(np.random.default_rng(0).normal(size=(9, 2)), "pca", SETTINGS, None, np.eye(9))
    for theme, colours in data["themes"].items():
        figure = projection_figure(projection, findings, theme=theme)
        (legend,) = figure.subfigs[0].legends
        drawn = [[mark.get_color(), mark.get_marker()] for mark in legend.legend_handles]
        assert [text.get_text().split(" (")[0] for text in legend.get_texts()] == data["kinds"][0]["names"]
        assert drawn == colours["looks"][:5]
        assert all(contrast_ratio(colour, colours["edge"]) >= 3 for colour, _ in [*colours["looks"], colours["rest"]])


def test_neighbours_in_the_legend_differ_in_shape_and_the_script_draws_every_shape():
    names = names_of({f"finding {place:02d}": 30 - place for place in range(24)})
    html = made(np.zeros((len(names), 2)), groups={"finding": names}, paths=names)
    data = data_of(html)
    (kind,) = data["kinds"]
    assert kind["n_named"] == 15  # as many as the figures tell apart
    assert kind["names"] == sorted(set(names))
    for colours in data["themes"].values():
        markers = [marker for _, marker in colours["looks"]]
        assert all(one != other for one, other in itertools.pairwise(markers))
        assert len({tuple(look) for look in colours["looks"]}) == 15
        shapes = re.search(r"const SHAPES = {(.*?)\n  };", html, flags=re.DOTALL)[1]
        assert {*markers, colours["rest"][1]} <= set(re.findall(r'^    "(.)":', shapes, flags=re.MULTILINE))


def test_the_policy_allows_this_script_and_no_other():
    html = made()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    script = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)[0]
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{script_hash}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"https?:|@import|url\(", html)


def test_points_keep_their_shape():
    layout = data_of(made(POINTS * 3 - 7))["layouts"][0]
    placed = np.stack([layout["x"], layout["y"]], axis=1)
    assert placed.dtype == np.int64
    assert (placed.min(), placed.max()) == (0, 65535)
    np.testing.assert_allclose((placed - placed[0]) / 65535, POINTS / 4, atol=2e-5)
    assert (layout["span_x"], layout["span_y"]) == (65535, pytest.approx(65535 / 2, abs=1))


def test_one_place_for_all_is_a_point_in_the_middle():
    layout = data_of(made(np.ones((4, 2))))["layouts"][0]
    assert set(layout["x"]) == set(layout["y"]) == {32768}


def test_before_training_comes_first():
    layouts = data_of(made(before=POINTS[:, ::-1]))["layouts"]
    assert [layout["name"] for layout in layouts] == ["before training", "after training"]
    assert layouts[0]["x"] == layouts[1]["y"]


@pytest.mark.parametrize(("n_films", "side"), [(1, 40), (7, 21), (30, 40)])
def test_each_thumbnail_is_where_the_page_looks_for_it(n_films, side):
    grays = np.linspace(0, 255, n_films).astype(np.uint8)
    thumbnails = np.broadcast_to(grays[:, None, None], (n_films, side, side)).copy()
    names = [str(place) for place in range(n_films)]
    html = made(np.zeros((n_films, 2)), groups={"finding": names}, paths=names, thumbnails=thumbnails)
    atlas = data_of(html)["atlas"]
    head, encoded = atlas["uri"].split(",")
    assert head == "data:image/jpeg;base64"
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))), dtype=int)
    for place, gray in enumerate(grays):
        top, left = (atlas["cell"] * index for index in divmod(place, atlas["columns"]))
        film = sheet[top : top + atlas["film"], left : left + atlas["film"]]
        assert film.shape == (side, side)
        assert np.abs(film - int(gray)).max() <= 2  # none bleeds into its neighbour


def test_the_same_films_give_the_same_bytes():
    assert made() == made()


WRONG = {
    "no films": ({"paths": []}, r"a projection needs films and at least one kind of group, got 0 and 2"),
    "no groups": ({"groups": {}}, r"a projection needs films and at least one kind of group, got 4 and 0"),
    "short groups": (
        {"groups": {"split": ["train"]}},
        r"groups\['split'\] must name a group for each of 4",
    ),
    "a wide before": (
        {"before": np.zeros((4, 3))},
        r"before must have shape \(4, 2\), one row for each path",
    ),
    "no number": ({"before": POINTS * [np.nan, 1]}, r"before must be finite, got 4 rows that are not"),
    "grays of 0 to 1": (
        {"thumbnails": np.zeros((4, 8, 8))},
        r"thumbnails must be uint8 \(N, side, side\), got f",
    ),
    "few thumbnails": (
        {"thumbnails": np.zeros((3, 8, 8), np.uint8)},
        "must be one for each of 4 paths, got 3",
    ),
    "large thumbnails": (
        {"thumbnails": np.zeros((4, 9000, 9000), np.uint8)},
        r"4 thumbnails of 9000 px make a picture 18000 px wide, browsers take 16384; make them smaller or pass None",
    ),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_input_is_refused(name):
    changes, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        made(**changes)
