"""Bars for who calls a long function: where somebody looks, when it takes long, and gone when it is done."""

import io
import sys
from types import SimpleNamespace

import numpy as np

from fewshot_cxr import _progress
from fewshot_cxr._progress import bar_of, bars_of, is_watched
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import evaluate_episodes


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(monkeypatch, step=1):
    """A terminal as standard error, and a clock that goes on by so many seconds with each look at it."""
    times = iter(range(0, 10_000 * step, step))
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def test_a_bar_is_drawn_over_itself_and_leaves_an_empty_line(monkeypatch):
    screen = watched(monkeypatch)
    report = bar_of("auto", "films")
    for done in range(5):
        report(done, 4)
    drawn = screen.getvalue().split("\r")
    assert "films [############............] 2 of 4, 2 s left" in [line.rstrip() for line in drawn]
    assert drawn[-1].strip() == drawn[-2].strip() == ""


def test_what_is_quick_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    report = bar_of("auto", "films")
    for done in range(5):
        report(done, 4)
    assert sys.stderr.getvalue() == ""


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    assert bars_of("auto") is None
    assert bar_of("auto", "films") is None
    monkeypatch.setattr(sys, "stderr", None)
    assert not is_watched(None)
    assert bar_of("auto", "films") is None


def test_a_notebook_is_watched(monkeypatch):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert is_watched(io.StringIO())
    shell.kernel = None
    assert not is_watched(io.StringIO())


def test_none_silences_and_a_function_is_taken(monkeypatch):
    screen = watched(monkeypatch, 2)
    assert bars_of(None) is bar_of(None, "films") is None
    assert bars_of(print) is bar_of(print, "films") is print
    films = Embeddings(np.random.default_rng(0).normal(size=(40, 4)), [0, 1] * 20)
    evaluate_episodes(films, n_shot=1, n_query=1, n_episodes=20, progress=None)
    assert screen.getvalue() == ""
    evaluate_episodes(films, n_shot=1, n_query=1, n_episodes=20_000)
    assert "episodes [" in screen.getvalue()
