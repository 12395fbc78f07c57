"""What is mailed says nothing of where things lie: paths are told from the working folder, or by their name alone."""

import json
import os
import time
from html import escape

import pytest

from fewshot_cxr._told_paths import told_text, told_value


@pytest.fixture
def place(tmp_path, monkeypatch):
    home = tmp_path / "home of anna"
    for name in ("work/sub", "films, old"):
        (home / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    return home


@pytest.mark.skipif(os.name != "posix", reason="a working folder can be removed on POSIX alone")
def test_of_a_working_folder_that_is_gone_names_alone_are_told(place):
    (place / "work" / "sub").rmdir()
    (place / "work").rmdir()
    assert told_text(f"in {place / 'films, old'}/a.csv") == "in a.csv"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{home}/films, old/a.csv was written elsewhere", "a.csv was written elsewhere"),
        ("fscxr train --data 'covidx:{home}/films, old' --out={home}/work/sub/run", "... 'covidx:films, old' ..."),
        ("paths start from {home}/films, old, not from here", "paths start from films, old, not from here"),
        ("{home}/work/a.csv and {home}/work/sub/b.csv", "a.csv and sub/b.csv"),
        ("{home}/work/new/run and ({home}/new/run)", "new/run and (run)"),
        ("../films, old/a.csv ~/films, old/b.csv ./../work/c.csv", "a.csv b.csv c.csv"),
        ('{{"path": "{home}/films, old/a.png", "n": 1}}', '{{"path": "a.png", "n": 1}}'),
        ("<dd>{home}/work/run</dd>", "<dd>run</dd>"),
        ("file://{home}/work/run", "file://run"),
    ],
)
def test_paths_in_a_text(place, text, told):
    found = told_text(text.format(home=place))
    if told.startswith("..."):
        assert found == "fscxr train --data 'covidx:films, old' --out=sub/run"
    else:
        assert found == told.format()


@pytest.mark.parametrize(
    "text",
    [
        "normal/abnormal, 3/4 and a / b",
        r"--patient-pattern '/(\d+)_'",
        "https://example.org/tmp/x",
        "</div></body>",
        "/no-such-folder/of/this/machine",
        "covidx/films/a.png",
        "data:image/png;base64,//tmp/aa+/tmp/bb=",
        "/",
        "",
    ],
)
def test_what_is_no_path_of_this_machine_stays(place, text):
    assert told_text(text) == text


def test_values_are_told_with_their_keys_and_kept_where_nothing_is_told(place):
    value = {str(place / "work" / "a"): [f"{place}/films, old/x", 1.5, None], "é": {"b": True}}
    assert told_value(value) == {"a": ["x", 1.5, None], "é": {"b": True}}
    assert told_value({"a": (1, "x/y"), "b": -0.5}) == {"a": [1, "x/y"], "b": -0.5}
    assert str(place) not in json.dumps(told_value(value))


@pytest.mark.parametrize("name", ["o'hara", "a & b", 'say "x"', "<b>", "é, ü"])
def test_odd_names_of_folders_go_whole(place, name):
    (place / name / "inner").mkdir(parents=True)
    file = f"{place}/{name}/inner/a.csv"
    for told in (told_text(file), told_text(escape(f"see {file} here")), told_value([file])[0]):
        assert told.removeprefix("see ").removesuffix(" here") == "a.csv"
    assert told_text(f"--data=covidx:{file}") == "--data=covidx:a.csv"


def test_many_films_cost_little(place):
    value = [{"path": f"{place}/work/sub/{number}.png", "p": 0.1} for number in range(20_000)]
    start = time.process_time()
    assert told_value(value)[-1] == {"path": "sub/19999.png", "p": 0.1}
    assert time.process_time() - start < 5
