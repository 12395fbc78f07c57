"""The rows of a bank: who may be one person, whenever the films came."""

from dataclasses import replace

import numpy as np
import pytest

from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable, hashed


def table(patients, groups, *, start=0):
    n = len(patients)
    rows = np.arange(start, start + n, dtype=np.float32)
    return ExemplarTable(
        vectors=rows[:, None],
        features=rows[:, None],
        findings=("normal",) * n,
        films=tuple(f"{start + row}.png" for row in range(n)),
        digests=tuple(f"{start + row:016x}" for row in range(n)),
        patients=tuple(map(hashed, patients)),
        groups=tuple(map(hashed, groups)),
        sources=("",) * n,
        ages=np.full(n, np.nan, dtype=np.float32),
        has_patient=np.ones(n, dtype=bool),
        is_frontal=np.ones(n, dtype=bool),
    )


def test_films_that_came_at_two_times_are_of_one_person_by_id_or_group():
    # p came alone; later a near-duplicate joined p with q, and q with r: all three may be one person.
    earlier = table(["p", "s"], ["p", "s"])
    later = table(["p", "q", "q", "r", "t"], ["o", "o", "q", "q", "t"], start=2)
    joined = earlier.joined(later)
    assert joined.people == later.joined(earlier).people
    assert len({joined.people[row] for row in (0, 2, 3, 4, 5)}) == 1
    assert len(set(joined.people)) == 3
    assert joined.embeddings.patient_ids.tolist() == [0, 1, 0, 0, 0, 0, 2]


def test_a_table_of_one_time_has_people_as_it_has_groups():
    one = table(["a", "b", "c"], ["a", "a", "c"])
    assert one.people == one.groups


def test_two_films_of_one_path_are_told_apart_and_go_one_by_one():
    """Both went when one was named."""
    own = replace(table(["p", "q"], ["p", "q"]), films=("a.png", "b.png"))
    other = replace(table(["r"], ["r"], start=2), films=("a.png",), findings=("covid19",))
    both = own.joined(other)
    here, there = "a.png#0000000000000000", "a.png#0000000000000002"
    assert both.names == (there, here, "b.png") == other.joined(own).names
    assert both.embeddings.paths == both.names
    with pytest.raises(ValueError, match=f"^2 films are called a.png: name one of them, {there} or {here}$"):
        both.without("film", "a.png")
    third = replace(table(["s"], ["s"], start=3), films=("c.png",), findings=("covid19",))
    for gone, left in ((here, ("a.png", "c.png", "b.png")), (there, ("c.png", "a.png", "b.png"))):
        smaller = both.joined(third).without("film", gone)
        assert smaller.names == smaller.films == left
    # What was shown before the other one went names it still.
    assert smaller.joined(other).without("film", there).without("film", here).names == ("c.png", "b.png")
