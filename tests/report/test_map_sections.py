import numpy as np

from fewshot_cxr.report.map_sections import som_section


def test_findings_that_are_set_apart_are_not_called_neighbours():
    draw = np.random.default_rng(0)
    groups = np.repeat([0, 1], 60)
    vectors = draw.normal(size=(120, 6)) + 20 * groups[:, None]
    (table,) = som_section(vectors, [("normal", "effusion")[group] for group in groups]).tables
    assert table.columns == ("finding", "other finding", "cells apart", "by chance", "95 % of chance")
    for _, _, apart, _, chance in table.rows:
        assert float(apart) > float(chance.split(" to ")[1])
    ((column, told),) = table.below
    assert column == "95 % of chance"
    for part in ("below this range", "above it they are set apart", "films of one patient count as independent"):
        assert part in told
