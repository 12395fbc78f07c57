"""Small tables of values: escaped, short, and the largest counts first."""

from xml.etree import ElementTree

import numpy as np

from fewshot_cxr._html import counts_text, cross_picture, html_table, scatter_picture, short_name


def test_a_table_escapes_every_text():
    text = html_table([("<b>", 1.5)], head=("a & b", "<i>"), caption="<script>")
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<script>" not in text
    assert "&lt;b&gt;" in text
    assert "a &amp; b" in text
    assert ">1.5<" in text


def test_a_table_counts_the_rows_that_it_does_not_show():
    text = html_table([(f"film {row}",) for row in range(1_000)])
    assert text.count("<tr>") == 20
    assert "film 18<" in text
    assert "film 19<" not in text
    assert "and 981 more" in text
    assert html_table([("a",)] * 20).count("<tr>") == 20


def test_counts_name_the_largest_first_and_count_the_rest():
    assert counts_text({"b": 2, "a": 2, "c": 1_200}) == "c 1,200, a 2, b 2"
    assert counts_text({str(n): n for n in range(20)}) == "19 19, 18 18, 17 17, 16 16, 15 15, and 15 more"
    assert counts_text(dict.fromkeys("abcdef", 1)) == "a 1, b 1, c 1, d 1, e 1, f 1", "one more is named, not counted"


def test_a_long_name_keeps_its_ends():
    name = "first " + "x" * 600_000 + "\nlast"
    assert len(short_name(name)) <= 41
    assert short_name(name).startswith("first ")
    assert short_name(name).endswith("last")


def test_a_cross_picture_has_a_shade_for_each_pair_and_escapes_names():
    text = cross_picture([("<a>", "x"), ("<a>", "x"), ("<a>", "y"), ("b", "y")], ("finding", "split"))
    assert text.count("<tr>") == 3
    assert "<a>" not in text
    assert 'rgba(0,114,178,0.40)">2<' in text, "two thirds of its row"
    assert 'rgba(0,114,178,0.00)">0<' in text
    assert cross_picture([("a", "x")], ("finding", "split")) == "", "one column tells nothing"
    many = cross_picture([(str(row), str(row)) for row in range(40)], ("finding", "source"))
    assert (many.count("<tr>"), many.count("<th")) == (13, 8)


def test_a_scatter_is_one_svg_with_a_dot_a_film_and_a_colour_a_group():
    points = np.array([[0.0, 0.0], [1e9, 5.0], [-1e9, 5.0]])
    text = scatter_picture(points, [0, 1, 9], [f"<{at}>" for at in range(10)])
    root = ElementTree.fromstring(text.replace("&#9679;", "o"))
    dots = root.find("svg").findall("circle")
    assert len({dot.get("fill") for dot in dots}) == 3
    assert all(0 <= float(dot.get(axis)) <= 240 for dot in dots for axis in ("cx", "cy"))
    assert "<9>" not in text
    assert scatter_picture(np.zeros((2, 2)), [0, 0], ["a"]).count("<circle") == 2, "all films in one place"
