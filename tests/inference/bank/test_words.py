"""What a bank says of itself: how many films of whom, and what to beware of, each only where it is so."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank import bank_counts, bank_json, bank_warnings
from fewshot_cxr.inference.bank import words as words_module
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable, hashed
from fewshot_cxr.inference.bank.receipt import Receipt
from fewshot_cxr.inference.deciding import Decider

PLAIN = SimpleNamespace(rule="prototype")


def table_of(*films, vectors=None):
    """Return a table of films, each a mapping of what is not as usual, in the order of their names."""
    usual = {"finding": "normal", "patient": None, "known": True, "source": "", "age": np.nan, "frontal": True}
    films = [{**usual, **film} for film in films]
    n = len(films)
    vectors = np.arange(float(n))[:, None] if vectors is None else np.asarray(vectors, dtype=float)
    people = tuple(hashed(film["patient"] or f"p{row}") for row, film in enumerate(films))
    return ExemplarTable(
        vectors=vectors.astype(np.float32),
        features=vectors.astype(np.float32),
        findings=tuple(film["finding"] for film in films),
        films=tuple(f"{row}.png" for row in range(n)),
        digests=tuple(f"{row:016x}" for row in range(n)),
        patients=people,
        groups=people,
        sources=tuple(film["source"] for film in films),
        ages=np.array([film["age"] for film in films], dtype=np.float32),
        has_patient=np.array([film["known"] for film in films]),
        is_frontal=np.array([film["frontal"] for film in films]),
    )


def warnings_of(table, *, are_films=True, decider=PLAIN):
    bank = SimpleNamespace(table=table, exemplars=SimpleNamespace(are_films=are_films, decider=decider))
    return list(bank_warnings(bank))


def test_counts_are_of_films_patients_and_sources():
    table = table_of(
        {"patient": "a", "source": "north"},
        {"patient": "a", "source": "north"},
        {"patient": "b"},
        {"known": False, "source": "south"},
        {"finding": "covid19", "known": False},
        {"finding": "covid19", "known": False},
        {"finding": "effusion", "known": False},
    )
    assert [one.row() for one in bank_counts(table)] == [
        ("covid19", "2", "unknown (2 films)", "unknown 2"),
        ("effusion", "1", "unknown (1 film)", "unknown 1"),
        ("normal", "4", "unknown (1 film), 2 known", "north 2, south 1, unknown 1"),
    ]
    assert bank_counts(table_of({}, {}))[0].row() == ("normal", "2", "2", "unknown 2")
    many = words_module.FindingCounts("normal", 1234, 1200, 1034, {})
    assert many.row()[1:3] == ("1,234", "unknown (1,034 films), 1,200 known")


def test_nothing_is_told_of_a_bank_as_it_should_be():
    films = [{"finding": name, "source": place} for name in ("covid19", "normal") for place in ("north", "south")]
    assert warnings_of(table_of(*films)) == []
    assert warnings_of(table_of({"age": 18}, {"age": 60})) == []
    assert warnings_of(table_of({"age": 17}, {"age": 3})) == []


def test_one_finding_by_two_names_is_told_with_the_one_of_most_films_first():
    names = ("covid19", "COVID-19", "covid19", "Covid 19", "no finding", "normal", "effusion")
    told = warnings_of(table_of(*({"finding": name} for name in names)))
    way_out = "if so, take one out by `fscxr bank remove` and add its films to another"
    assert told == [
        f"findings that may be one: covid19 (2 films), COVID-19 (1 film), Covid 19 (1 film); {way_out}",
        f"findings that may be one: no finding (1 film), normal (1 film); {way_out}",
    ]


@pytest.mark.parametrize(
    ("sources", "is_told"),
    [
        ((("north",), ("south",)), True),
        ((("north",), ("north",)), False),
        ((("north", "south"), ("south",)), False),
        ((("north",), ("",)), False),
    ],
)
def test_findings_of_a_source_each_are_told(sources, is_told):
    films = [
        {"finding": name, "source": place} for name, own in zip("ab", sources, strict=True) for place in (*own, *own)
    ]
    told = "each of these findings has a source of its own: a (north), b (south); the bank may tell hospitals, not "
    told += "findings"
    assert warnings_of(table_of(*films)) == [told] * is_told


def test_a_finding_of_many_sources_is_not_named_among_those_of_one():
    films = [
        {"finding": name, "source": place}
        for name, place in (("a", "north"), ("b", "south"), ("c", "north"), ("c", "south"))
    ]
    (told,) = warnings_of(table_of(*films))
    assert "own: a (north), b (south); the" in told


def test_children_beside_adults_are_told():
    films = table_of({"age": 17.9}, {"age": 18}, {"age": 4}, {"age": 70}, {})
    assert warnings_of(films) == ["2 of 5 exemplars are of children, beside adults"]


def test_two_films_of_one_patient_are_told_and_unknown_patients_do_not_count():
    films = table_of({"patient": "a"}, {"patient": "a"}, {"patient": "b"}, {"finding": "covid19"})
    assert warnings_of(films) == ["normal: 3 exemplars of 2 patients"]
    told = "nobody knows the patient; each counts as one of its own, and what is promised holds only if it is"
    films = table_of({"patient": "a"}, {"known": False}, {"known": False}, {"finding": "covid19"})
    assert warnings_of(films) == [f"normal: of 2 films {told}"]
    films = table_of({"patient": "a"}, {"patient": "a"}, {"known": False}, {"finding": "covid19", "known": False})
    assert warnings_of(films) == [
        f"covid19: of 1 film {told}",
        "normal: 2 exemplars of 1 patient",
        f"normal: of 1 film {told}",
    ]


def test_nearly_equal_films_are_told_by_their_names_and_copies_of_all_are_no_measure(monkeypatch):
    draw = np.random.default_rng(0)
    vectors = 10 * draw.normal(size=(8, 4))
    vectors[5] = vectors[2] + 1e-3
    vectors[7] = vectors[6] + 1e-3
    films = table_of(*[{}] * 8, vectors=vectors)
    told = "nearly the same film: 2 pairs of exemplars, such as 2.png and 5.png"
    assert warnings_of(films) == [told]
    # A slow loop: nearer than a twentieth of what is usual.
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    usual = np.median([sorted(row)[1] for row in apart])
    close = [(first, second) for second in range(8) for first in range(second) if apart[first, second] < usual / 20]
    assert sorted(words_module._alike(films)) == sorted(close) == [(2, 5), (6, 7)]
    monkeypatch.setattr(words_module, "_MOST_MEASURED", 8)
    assert warnings_of(films) == [told]
    monkeypatch.setattr(words_module, "_MOST_MEASURED", 7)
    assert warnings_of(films) == []


def test_odd_films_are_told_where_exemplars_are_films():
    films = table_of({"frontal": False}, {}, {"frontal": False})
    assert warnings_of(films) == ["2 of 3 exemplars do not look like frontal films of the chest"]
    assert warnings_of(films, are_films=False) == []


def deciding(rule, *, spread=0.1, n_new=5, distance="euclidean"):
    """Two findings far apart with spread, and between them a third, whose films are that much alike."""
    draw = np.random.default_rng(0)
    sides = draw.normal(size=(60, 16)) + np.repeat([[-3.0], [3.0]], 30, axis=0) * (np.arange(16) < 1)
    vectors = np.concatenate([sides, spread * draw.normal(size=(n_new, 16))])
    names = ["effusion"] * 30 + ["normal"] * 30 + ["new"] * n_new
    return Decider(Embeddings(vectors, names), rule=rule, distance=distance)


def told_right(decider):
    rows, distances = decider.left_out()
    return distances.numpy().argmin(axis=1) == decider.labels.numpy()[rows]


def test_a_finding_of_few_alike_films_that_draws_the_others_is_told(monkeypatch):
    lone = table_of({})
    (told,) = warnings_of(lone, decider=deciding("mean_distance"))
    right = {rule: 100 * told_right(deciding(rule)).mean() for rule in ("mean_distance", "prototype")}
    assert right["mean_distance"] < 75 < 90 < right["prototype"]
    assert told == (
        f"by mean_distance {right['mean_distance']:.0f}% of the exemplars are told right by those of other patients, "
        f"by prototype {right['prototype']:.0f}%: build the bank with --rule prototype"
    )
    assert not warnings_of(lone, decider=deciding("prototype"))
    assert not warnings_of(lone, decider=deciding("mean_distance", spread=1))
    monkeypatch.setattr(words_module, "_MOST_LEFT_OUT", 65)
    assert warnings_of(lone, decider=deciding("mean_distance")) == [told]
    monkeypatch.setattr(words_module, "_MOST_LEFT_OUT", 64)
    assert not warnings_of(lone, decider=deciding("mean_distance"))


@pytest.mark.parametrize("by_chance", [1e-30, 0.005, 0.05, 0.5, 0.9, 0.999999])
@pytest.mark.parametrize("spread", [0.5, 0.7, 0.75, 0.8, 1.0])
def test_another_rule_is_named_where_an_exact_test_says_so(monkeypatch, by_chance, spread):
    own, better = (told_right(deciding(rule, spread=spread)) for rule in ("mean_distance", "prototype"))
    won, lost = int((better & ~own).sum()), int((own & ~better).sum())
    chance = binomtest(lost, won + lost, 0.5, alternative="less").pvalue if won + lost else 1.0
    monkeypatch.setattr(words_module, "_BY_CHANCE", by_chance)
    is_told = bool(warnings_of(table_of({}), decider=deciding("mean_distance", spread=spread)))
    assert is_told == (won > 0 and chance < by_chance)


def test_json_says_what_a_bank_is():
    receipt = Receipt("film", 1, "before", "after")
    card = {"weights": {"name": "published"}}
    bank = SimpleNamespace(
        content_hash="abc",
        terms=SimpleNamespace(encoder_name="resnet9", encoder={"card": card}, rule="prototype", distance="cosine"),
        table=table_of({}, {"frontal": False}),
        exemplars=SimpleNamespace(are_films=True, decider=PLAIN),
        facts=lambda: [("films", "2")],
        receipt=receipt,
    )
    told = {
        "bank": "abc",
        "encoder": "resnet9",
        "weights": {"name": "published"},
        "rule": "prototype",
        "distance": "cosine",
        "findings": [{"finding": "normal", "n_films": 2, "n_patients": 2, "n_unknown": 0, "sources": {"unknown": 2}}],
        "told": {"films": "2"},
        "warnings": ["1 of 2 exemplars do not look like frontal films of the chest"],
        "receipt": vars(receipt),
    }
    assert bank_json(bank) == told
    bank.receipt, bank.terms.encoder = None, {"card": {}}
    assert bank_json(bank) == {**told, "weights": {}, "receipt": None}
