"""The rows of a bank: who may be one person, whenever the films came."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from fewshot_cxr.inference.bank import bank_warnings
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


def test_where_patients_are_unknown_it_is_said_what_the_promise_rests_on():
    unknown = replace(table(["p", "q"], ["p", "q"]), has_patient=np.zeros(2, dtype=bool))
    bank = SimpleNamespace(table=unknown, exemplars=SimpleNamespace(are_films=False))
    assert list(bank_warnings(bank)) == [
        "normal: of 2 films nobody knows the patient; each counts as one of its own, and what is promised holds only "
        "if it is"
    ]
