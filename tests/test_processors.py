"""How many threads decode films where a scheduler or a container gives few processors of many."""

import os

import pytest

from fewshot_cxr import _processors
from fewshot_cxr._processors import n_processors
from fewshot_cxr.data import reading


@pytest.mark.parametrize(
    ("quota", "n"),
    [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("max 100000", 5), ("", 5), (None, 5)],
)
def test_processors_are_those_of_the_process_and_its_container(tmp_path, monkeypatch, quota, n):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 4, 7, 9}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(_processors, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert n_processors() == n


def test_films_are_decoded_on_so_many_threads(monkeypatch):
    monkeypatch.setattr(reading, "n_processors", lambda: 3)
    asked, pool = [], reading.ThreadPoolExecutor
    monkeypatch.setattr(reading, "ThreadPoolExecutor", lambda n: asked.append(n) or pool(n))
    assert list(reading.read_all(abs, [-1])) == [1]
    assert asked == [3]
