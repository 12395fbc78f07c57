"""The scripts that tell of size say flat, grown and hostile where it is so, and nowhere else."""

import numpy as np
import pytest


def test_memory_that_grows_is_not_flat(script):
    long_runs = script("long_runs")
    shares = np.linspace(0, 1, 101)
    filling = [(share, 400 + 60 * min(1, 20 * share)) for share in shares]
    leaking = [(share, 400 + 60 * share) for share in shares]
    assert (long_runs.is_flat(filling), long_runs.is_flat(leaking)) == (True, False)
    assert long_runs.grown(leaking) == pytest.approx((409, 457))


def test_an_extrapolation_follows_the_last_two_sizes_and_never_gains_by_size(script):
    at = script("scale_simulation").at
    assert at(10_000, [10, 100, 1000], [9, 1, 10]) == pytest.approx((100, 1))
    assert at(10_000, [10, 100, 1000], [0, 2, 200]) == pytest.approx((20_000, 2))
    assert at(10_000, [10, 100, 1000], [5, 5, 5]) == pytest.approx((50, 1))


def test_each_reader_is_attacked_and_one_that_errs_is_found(script, tmp_path, monkeypatch):
    script("faults")
    from fault_kinds import readers

    from fewshot_cxr.data import READERS

    assert set(readers.N_INPUTS) <= set(READERS)
    assert sum(readers.N_INPUTS.values()) >= 100_000
    for name in readers.N_INPUTS:
        attacks = list(readers._attacks(name, tmp_path, np.random.default_rng(0), 0.0004))
        assert {work() for _, work in attacks} <= {"refused", "harmless"}
    monkeypatch.setattr(readers, "read_dataset", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attacks[0][1]()
    (tmp_path / "films").mkdir()
    monkeypatch.setattr(readers, "read_dataset", lambda *_: (_ for _ in ()).throw(ValueError("it is wrong")))
    assert readers._outcome("manifest", tmp_path / "films", "films.csv", None).startswith("crash: no line that names")
