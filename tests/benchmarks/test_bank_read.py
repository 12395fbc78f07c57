"""benchmarks/bank.py lays a file that is a bank."""

import numpy as np

from fewshot_cxr.inference.bank import SupportBank, bank_counts


def test_the_bank_that_is_read_holds_the_vectors(script, tmp_path):
    bank = script("bank")
    bank.lay(tmp_path, [60], 8, with_nearest=False)
    loaded = SupportBank.load(bank.lay_bank(tmp_path, 60))
    counts = bank_counts(loaded.table)
    assert len(counts) == bank.FINDINGS
    assert [one.n_patients for one in counts] == [2] * bank.FINDINGS
    assert np.array_equal(np.sort(loaded.table.vectors, axis=0), np.sort(np.load(tmp_path / "60.npy"), axis=0))
