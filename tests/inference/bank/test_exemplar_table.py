"""The rows of a bank: who may be one person, whenever the films came."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank import bank_warnings
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable, hashed
from fewshot_cxr.inference.deciding import Decider

PLAIN = SimpleNamespace(rule="prototype")


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
    bank = SimpleNamespace(table=unknown, exemplars=SimpleNamespace(are_films=False, decider=PLAIN))
    assert list(bank_warnings(bank)) == [
        "normal: of 2 films nobody knows the patient; each counts as one of its own, and what is promised holds only "
        "if it is"
    ]


def bank_of(rule, *, spread=0.1):
    """Two findings far apart with spread, and between them a third, whose five films are that much alike."""
    draw = np.random.default_rng(0)
    sides = draw.normal(size=(60, 16)) + np.repeat([[-3.0], [3.0]], 30, axis=0) * (np.arange(16) < 1)
    vectors = np.concatenate([sides, spread * draw.normal(size=(5, 16))])
    support = Embeddings(vectors, ["effusion"] * 30 + ["normal"] * 30 + ["new"] * 5)
    empty = table(["p"], ["p"])
    return SimpleNamespace(table=empty, exemplars=SimpleNamespace(are_films=False, decider=Decider(support, rule=rule)))


def test_a_finding_of_few_alike_films_that_draws_the_others_is_told():
    (told,) = bank_warnings(bank_of("mean_distance"))
    right = {}
    for rule in ("mean_distance", "prototype"):
        decider = bank_of(rule).exemplars.decider
        rows, distances = decider.left_out()
        right[rule] = 100 * (distances.numpy().argmin(axis=1) == decider.labels.numpy()[rows]).mean()
    assert right["mean_distance"] < 75 < 90 < right["prototype"]
    assert told == (
        f"by mean_distance {right['mean_distance']:.0f}% of the exemplars are told right by those of other patients, "
        f"by prototype {right['prototype']:.0f}%: build the bank with --rule prototype"
    )
    assert not list(bank_warnings(bank_of("prototype")))
    assert not list(bank_warnings(bank_of("mean_distance", spread=1)))


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
