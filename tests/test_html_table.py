"""Small tables of values: escaped, short, and the largest counts first."""

from fewshot_cxr._html import counts_text, html_table, short_name


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
