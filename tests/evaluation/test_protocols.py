"""What each protocol lets into an episode, and what it refuses."""

import re

import numpy as np
import pytest

from fewshot_cxr.data import read_dataset
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.episodic.fold_episodes import FoldEpisodes
from fewshot_cxr.evaluation.episodic.protocols import PROTOCOLS, plan_episodes

NAMES = ("covid19", "edema", "normal", "pneumonia", "tb")
SMALL = {"n_shot": 2, "n_query": 3, "n_episodes": 30}


def make_films(seed=0, n=200, names=NAMES, n_patients=90, sources=("north", "south", "west")):
    draw = np.random.default_rng(seed)
    labels, patients = draw.integers(0, len(names), n), draw.integers(0, n_patients, n)
    return Embeddings(
        draw.normal(size=(n, 3)),
        labels,
        patients,
        class_names=names,
        sources=[sources[index] for index in draw.integers(0, len(sources), n)],
        paths=[f"film{index}.png" for index in range(n)],
    )


def keep(films, is_kept):
    """The films of a mask; class names stay."""
    rows = np.flatnonzero(is_kept)
    return reorder(films, rows)


def reorder(films, rows, rename=lambda patient: f"p{patient}"):
    return Embeddings(
        films.vectors[rows],
        films.class_ids[rows],
        [rename(patient) for patient in films.patient_ids[rows].tolist()],
        films.class_names,
        [films.sources[row] for row in rows],
        paths=[films.paths[row] for row in rows],
    )


def of(films, *names):
    return np.isin(films.class_ids, [films.class_names.index(name) for name in names])


def ways(plan):
    """The sets of findings over all episodes."""
    names = plan.episodes.class_names
    return {frozenset(names[index] for index in ids) for block in plan.episodes.blocks() for ids in block.class_ids}


def films_of(films, block, side):
    """Per episode, the set of (path) on one side: support, query or outside."""
    rows = getattr(block, side)
    return [{films.paths[row] for row in episode.ravel() if row >= 0} for episode in rows]


def outside_findings(films, plan):
    block = plan.episodes.block(0, 5)
    return None if block.outside is None else {films.class_names[films.class_ids[row]] for row in block.outside.ravel()}


def test_every_protocol_is_in_the_table():
    assert set(PROTOCOLS) == {"auto", "closed", "novel", "generalized", "cross_source", "fixed_support"}
    with pytest.raises(ValueError, match=r"unknown protocol 'closd' \(did you mean 'closed'\?\)"):
        plan_episodes(make_films(), protocol="closd")


def test_closed_holds_all_findings():
    films = make_films()
    plan = plan_episodes(films, protocol="closed", seen=NAMES, **SMALL)
    assert ways(plan) == {frozenset(NAMES)}
    assert (plan.protocol, plan.seen, plan.novel, plan.notes) == ("closed", NAMES, (), ())
    assert (plan.episodes.n_way, plan.episodes.n_episodes, plan.episodes.seed) == (5, 30, 0)
    unknown_training = plan_episodes(films, protocol="closed", **SMALL)
    assert (unknown_training.seen, unknown_training.novel) == ((), ())
    assert unknown_training.episodes.hash == plan.episodes.hash


def test_settings_reach_the_draw():
    plan = plan_episodes(make_films(), protocol="closed", n_way=3, seed=4, prevalence="natural", **SMALL)
    told = plan.episodes.to_json()
    assert {name: told[name] for name in ("n_way", "seed", "prevalence", "n_query", "n_episodes")} == {
        "n_way": 3,
        "seed": 4,
        "prevalence": "natural",
        "n_query": 3,
        "n_episodes": 30,
    }
    assert all(len(findings) == 3 for findings in ways(plan))
    with pytest.raises(ValueError, match="n_shot must be at least 1, got 0"):
        plan_episodes(make_films(), protocol="closed", n_shot=0)
    with pytest.raises(TypeError, match="n_shots"):
        plan_episodes(make_films(), protocol="closed", n_shots=3)


def test_auto_follows_what_was_seen():
    films = make_films()
    expected = {
        None: ("closed", "protocol closed was chosen: what the encoder was trained on is not known"),
        NAMES: ("closed", "protocol closed was chosen: the encoder was trained on every finding"),
        NAMES[1:]: ("generalized", "protocol generalized was chosen: the encoder was not trained on covid19"),
        ("hernia",): ("novel", "protocol novel was chosen: the encoder was trained on none of the findings"),
    }
    for seen, (protocol, note) in expected.items():
        plan = plan_episodes(films, seen=seen, **SMALL)
        assert (plan.protocol, plan.notes[0]) == (protocol, note)
        assert ways(plan) == {frozenset(NAMES)}
    assert plan_episodes(films, seen=NAMES[1:], unknown=["covid19"], **SMALL).protocol == "closed"
    named = plan_episodes(films, novel=["tb"], **SMALL)
    assert (named.protocol, named.seen, named.novel) == ("generalized", NAMES[:-1], ("tb",))


def test_closed_refuses_what_was_not_seen():
    with pytest.raises(
        ValueError,
        match="protocol closed: the encoder was not trained on covid19, tb; "
        "take the protocol novel or generalized, or leave the finding out",
    ):
        plan_episodes(make_films(), protocol="closed", seen=NAMES[1:-1])


def test_novel_episodes_hold_novel_findings_only():
    films = make_films()
    plan = plan_episodes(films, protocol="novel", novel=["tb", "covid19"], seen=NAMES[1:-1], **SMALL)
    assert ways(plan) == {frozenset({"covid19", "tb"})}
    assert (set(plan.novel), plan.seen, plan.notes) == ({"covid19", "tb"}, (), ())
    assert outside_findings(films, plan) == set(NAMES[1:-1])
    derived = plan_episodes(films, protocol="novel", seen=NAMES[1:-1], **SMALL)
    assert derived.episodes.hash == plan.episodes.hash


def test_one_novel_finding_is_filled_up():
    plan = plan_episodes(make_films(), protocol="novel", novel=["tb"], **SMALL)
    assert ways(plan) == {frozenset(NAMES)}
    three = plan_episodes(make_films(), protocol="novel", novel=["tb"], n_way=3, **SMALL)
    assert all(len(findings) == 3 and "tb" in findings for findings in ways(three))
    assert len(ways(three)) == 6
    assert three.notes == (
        "every episode holds tb and is filled up to 3 findings from covid19, edema, normal, pneumonia",
    )
    assert (three.seen, three.novel) == (NAMES[:-1], ("tb",))


@pytest.mark.parametrize("protocol", ["novel", "generalized", "auto"])
def test_what_was_trained_on_is_not_novel(protocol):
    with pytest.raises(ValueError, match=r"the encoder was trained on covid19: not novel to it; train one without"):
        plan_episodes(make_films(), protocol=protocol, novel=["covid19", "tb"], seen=NAMES[:-1])


@pytest.mark.parametrize(
    ("seen", "why"), [(None, "what it was trained on is not known"), (NAMES, "the encoder has seen every finding")]
)
@pytest.mark.parametrize("protocol", ["novel", "generalized"])
def test_no_novel_finding_is_no_question(protocol, seen, why):
    with pytest.raises(ValueError, match=f"protocol {protocol} has no novel finding: {why}; name some in novel"):
        plan_episodes(make_films(), protocol=protocol, seen=seen)


def test_generalized_episodes_hold_both():
    films = make_films()
    plan = plan_episodes(films, protocol="generalized", seen=NAMES[:3], **SMALL)
    assert ways(plan) == {frozenset(NAMES)}
    assert (plan.seen, plan.novel, plan.notes) == (NAMES[:3], NAMES[3:], ())
    three = plan_episodes(films, protocol="generalized", seen=NAMES[:3], n_way=3, **SMALL)
    assert ways(three) == {frozenset({name, "pneumonia", "tb"}) for name in NAMES[:3]}
    assert three.notes == ("every episode holds pneumonia, tb and 1 of the other findings",)
    swapped = plan_episodes(films, protocol="generalized", seen=NAMES[:2], n_way=3, **SMALL)
    assert ways(swapped) == {frozenset({"covid19", "edema", name}) for name in NAMES[2:]}
    with pytest.raises(ValueError, match=r"2 ways cannot hold all 2 novel findings and a seen one.*take n_way 3 or mo"):
        plan_episodes(films, protocol="generalized", seen=NAMES[:3], n_way=2)
    with pytest.raises(ValueError, match="protocol generalized needs a finding that was seen"):
        plan_episodes(films, protocol="generalized", seen=[])
    with pytest.raises(ValueError, match="protocol generalized: covid19 was not seen in training; name it in novel"):
        plan_episodes(films, protocol="generalized", seen=NAMES[1:-1], novel=["tb"])


def test_unknown_findings_are_only_asked_as_none_of_these():
    films = make_films()
    for protocol in ("closed", "fixed_support"):
        settings = SMALL if protocol == "closed" else {"n_repeats": 1}
        plan = plan_episodes(films, protocol=protocol, unknown=["tb"], **settings)
        assert ways(plan) == {frozenset(NAMES[:-1])}
        assert outside_findings(films, plan) == {"tb"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"unknown": ["tbb"]},
            r"unknown names an unknown finding 'tbb' \(did you mean 'tb'\?\); choose from covid19, ed",
        ),
        ({"novel": ["zebra"]}, "novel names an unknown finding 'zebra'; choose from covid19"),
        ({"novel": ["tb"], "unknown": ["tb"]}, "novel and unknown both name tb; leave it out of one of them"),
        ({"protocol": "closed", "novel": ["tb"]}, "protocol closed takes no novel findings; take one of auto, novel"),
        ({"support_source": "north"}, "protocol auto takes no support_source or query_source; take cross_source"),
        ({"protocol": "closed", "n_folds": 3}, "protocol closed takes no n_folds or n_repeats; take fixed_support"),
        ({"protocol": "fixed_support", "n_shot": 5, "n_way": 2}, "fixed_support takes no n_shot, n_way: its folds"),
    ],
)
def test_options_that_would_not_be_heeded_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        plan_episodes(make_films(), **settings)


def test_films_of_several_findings_are_planned():
    draw = np.random.default_rng(0)
    has = draw.integers(0, 2, (300, 4)).astype(float)
    has[draw.random(has.shape) < 0.1] = np.nan
    has[:, 3] = 0  # a finding that no film has is no class
    films = Embeddings(
        draw.normal(size=(300, 3)), has, class_names=["a", "b", "c", "d"], paths=[str(row) for row in range(300)]
    )
    plan = plan_episodes(films, seen=["a", "b"], **SMALL)
    assert (plan.protocol, plan.seen, plan.novel) == ("generalized", ("a", "b"), ("c",))
    assert ways(plan) == {frozenset("abc")}
    with pytest.raises(ValueError, match="episodes need one finding per film"):
        plan_episodes(films, protocol="fixed_support")


def test_cross_source_parts_support_from_query():
    films = make_films(n=400)
    source_of = dict(zip(films.paths, films.sources, strict=True))
    settings = {"protocol": "cross_source", "support_source": "north", **SMALL}
    for query_source, asked in ((None, {"south", "west"}), ("west", {"west"})):
        plan = plan_episodes(films, query_source=query_source, **settings)
        block = plan.episodes.block(0, 30)
        assert {source_of[path] for paths in films_of(films, block, "support") for path in paths} == {"north"}
        assert {source_of[path] for paths in films_of(films, block, "query") for path in paths} == asked
        assert ways(plan) == {frozenset(NAMES)}
        for support, query in zip(block.support, block.query, strict=True):
            assert not set(films.patient_ids[support].ravel()) & set(films.patient_ids[query].ravel())
    assert plan.notes == ("support films are of north, query films of west",)


def test_cross_source_leaves_out_findings_of_one_side():
    films = make_films(n=400)
    sources = np.array(films.sources)
    films = keep(films, ~(of(films, "tb") & (sources == "north")) & ~(of(films, "edema") & (sources != "north")))
    plan = plan_episodes(films, protocol="cross_source", support_source="north", **SMALL)
    assert ways(plan) == {frozenset({"covid19", "normal", "pneumonia"})}
    assert plan.notes[1] == "never in an episode, for want of films on both sides: edema, tb"


def test_cross_source_needs_sources_that_share_findings():
    films = make_films(n=60, names=("a", "b"), sources=("north", "south"))
    sources = np.array(films.sources)
    counts = {
        (name, source): int((of(films, name) & (sources == source)).sum()) for name in "ab" for source in set(sources)
    }
    text = (
        f"north (a {counts['a', 'north']}, b {counts['b', 'north']}); "
        f"south (a {counts['a', 'south']}, b {counts['b', 'south']})"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(f'cross_source needs a support_source; choose from {text}')}$"):
        plan_episodes(films, protocol="cross_source")
    with pytest.raises(ValueError, match=r"unknown query_source 'soth' \(did you mean 'south'\?\)"):
        plan_episodes(films, protocol="cross_source", support_source="north", query_source="soth")
    with pytest.raises(ValueError, match="support_source and query_source are both north; take two sources"):
        plan_episodes(films, protocol="cross_source", support_source="north", query_source="north")
    confounded = keep(films, of(films, "a") == (sources == "north"))
    with pytest.raises(ValueError, match="no finding has films of two sources: finding and source are confounded here"):
        plan_episodes(confounded, protocol="cross_source", support_source="north")
    one = keep(films, of(films, "a") | (sources == "north"))
    with pytest.raises(
        ValueError, match=r"needs 2 findings with films of north and of south, got a; there are north \(a \d+, b \d+\);"
    ):
        plan_episodes(one, protocol="cross_source", support_source="north")
    without = Embeddings(films.vectors, films.class_ids, films.patient_ids, films.class_names)
    with pytest.raises(ValueError, match="cross_source needs the source of each film"):
        plan_episodes(without, protocol="cross_source", support_source="north")


def test_real_films_with_a_source_for_each_finding_are_refused(fscxr_data):
    records = read_dataset("manifest", fscxr_data / "cxr3" / "metadata.csv")
    films = Embeddings(
        np.random.default_rng(0).normal(size=(len(records), 4)),
        [film.finding for film in records],
        [film.group for film in records],
        sources=[film.source for film in records],
        paths=[film.path for film in records],
    )
    for source in (None, "ieee8023"):
        with pytest.raises(ValueError, match="finding and source are confounded here, cross_source cannot be measured"):
            plan_episodes(films, protocol="cross_source", support_source=source)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_patients", [40, 90, 400])
def test_folds_are_what_they_say(seed, n_patients):
    """A loop over episodes: every film is asked once in each division, its patient never in the support."""
    films = make_films(seed, n_patients=n_patients)
    plan = plan_episodes(films, protocol="fixed_support", n_repeats=3, seed=seed)
    folds = plan.episodes
    assert (folds.n_folds, folds.n_episodes, folds.n_way) == (5, 15, 5)
    for repeat in range(3):
        asked = []
        for episode in range(5):
            block = folds.block(5 * repeat + episode, 1)
            assert block.class_ids.tolist() == [[0, 1, 2, 3, 4]]
            sides = []
            for rows in (block.support[0], block.query[0]):
                sides.append({row for way in rows.tolist() for row in way if row >= 0})
                for class_id, way in enumerate(rows.tolist()):
                    assert {films.class_ids[row] for row in way if row >= 0} == {class_id}
            support, query = sides
            assert support | query == set(range(len(films)))
            assert not {films.patient_ids[row] for row in support} & {films.patient_ids[row] for row in query}
            asked += sorted(query)
        assert sorted(asked) == list(range(len(films)))
    assert not np.array_equal(folds.block(0, 1).query, folds.block(5, 1).query)


def test_folds_are_alike_in_every_finding():
    films = make_films(n=500, n_patients=10**6)
    folds = plan_episodes(films, protocol="fixed_support", n_repeats=4).episodes
    counts = np.concatenate([(block.query >= 0).sum(axis=2) for block in folds.blocks(7)])
    assert counts.shape == (20, 5)
    for division in counts.reshape(4, 5, 5):
        assert (division.max(axis=0) - division.min(axis=0) <= 1).all()
        assert np.ptp(division.sum(axis=1)) <= 1


def test_folds_do_not_know_row_order_block_size_or_names_of_patients():
    films = make_films()
    order = np.random.default_rng(1).permutation(len(films))
    shuffled = reorder(films, order, rename=lambda patient: f"x{99 - patient}")
    first, second = (
        plan_episodes(some, protocol="fixed_support", unknown=["tb"]).episodes for some in (films, shuffled)
    )
    assert first.hash == second.hash
    for side in ("support", "query", "outside"):
        whole = films_of(films, first.block(0, 100), side)
        assert whole == films_of(shuffled, second.block(0, 100), side)
        assert whole == [paths for block in first.blocks(7) for paths in films_of(films, block, side)]
    other_seed = plan_episodes(films, protocol="fixed_support", unknown=["tb"], seed=1).episodes
    fewer = plan_episodes(films, protocol="fixed_support", seed=0).episodes
    assert len({first.hash, other_seed.hash, fewer.hash}) == 3
    assert films_of(films, other_seed.block(0, 5), "query") != films_of(films, first.block(0, 5), "query")


def test_outside_films_have_no_patient_in_the_support():
    films = make_films(n_patients=60)
    folds = plan_episodes(films, protocol="fixed_support", unknown=["tb"], n_repeats=1).episodes
    inside = set(films.patient_ids[~of(films, "tb")].tolist())
    expected = {row for row in np.flatnonzero(of(films, "tb")).tolist() if films.patient_ids[row] not in inside}
    for block in folds.blocks():
        assert all(set(rows.tolist()) == expected for rows in block.outside)


def test_few_patients_make_few_folds():
    films = make_films(n=60, names=("a", "b"), n_patients=10**6)
    rows = np.concatenate([np.flatnonzero(of(films, "a")), np.flatnonzero(of(films, "b"))[:3]])
    plan = plan_episodes(reorder(films, rows), protocol="fixed_support")
    assert (plan.episodes.n_folds, plan.episodes.n_episodes) == (3, 60)
    assert plan.episodes.notes == ("3 folds in place of 5: b has films of 3 patients",)
    with pytest.raises(ValueError, match=r"films of 2 patients of each finding, and these have films of one: b; add a"):
        plan_episodes(reorder(films, rows[:-2]), protocol="fixed_support")
    with pytest.raises(ValueError, match="fixed_support needs films of 2 findings, got 1"):
        plan_episodes(reorder(films, rows[:-3]), protocol="fixed_support")


def test_folds_that_cannot_be_are_refused():
    # three patients with two findings each: no two folds both have all three
    films = Embeddings(np.eye(6), [0, 1, 0, 2, 1, 2], [0, 0, 1, 1, 2, 2], ["a", "b", "c"])
    with pytest.raises(ValueError, match="patients with films of several findings leave no 2 folds"):
        FoldEpisodes.draw(films)
    two = Embeddings(np.eye(4), [0, 1, 0, 1], [0, 0, 1, 1], ["a", "b"])
    folds = FoldEpisodes.draw(two, n_repeats=2)
    assert folds.notes == ("2 folds in place of 5: a, b have films of 2 patients",)
    for first, size in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=r"there are 4 folds, 5 were asked for|first must be at least 0"):
            folds.block(first, size)


def test_parts_of_folds_fit_the_rules():
    films = make_films()
    block = plan_episodes(films, protocol="fixed_support", n_repeats=2).episodes.block(0, 10)
    positions = []
    for part in block.parts():
        positions += part.positions.tolist()
        assert (part.support >= 0).all()
        assert (part.query >= 0).all()
        assert (films.class_ids[part.support] == part.class_ids[:, part.support_labels]).all()
        assert (films.class_ids[part.query] == part.class_ids[:, part.query_labels]).all()
    assert sorted(positions) == list(range(10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seen": "finding 0"}, "seen must be a list of findings, got the text 'finding 0'"),
        ({"novel": "finding 0"}, "novel must be a list of findings, got the text"),
        ({"unknown": "finding 0"}, "unknown must be a list of findings, got the text"),
        ({"seen": 3}, "seen must be a list of findings, got 3"),
        ({"n_shot": 2.7}, "n_shot must be a whole number, got 2.7"),
        ({"n_query": "15"}, "n_query must be a whole number, got '15'"),
        ({"n_way": 2.0}, "n_way must be a whole number, got 2.0"),
        ({"n_way": True}, "n_way must be a whole number, got True"),
        ({"n_episodes": 1e3}, "n_episodes must be a whole number, got 1000.0"),
        ({"seed": 0.5}, "seed must be a whole number, got 0.5"),
        ({"protocol": "fixed_support", "n_folds": 2.5}, "n_folds must be a whole number, got 2.5"),
        ({"allow_patient_overlap": "no"}, "allow_patient_overlap must be True or False, got 'no'"),
        ({"protocol": 3}, "protocol must be a name, got 3; choose from auto,"),
    ],
)
def test_nothing_is_converted_in_silence(settings, message):
    with pytest.raises(TypeError, match=message):
        plan_episodes(make_films(), **settings)


def test_whole_numbers_of_numpy_are_whole_numbers():
    films = make_films()
    number = np.int64
    plan = plan_episodes(
        films, n_way=number(2), n_shot=number(2), n_query=number(3), n_episodes=number(9), seed=number(4)
    )
    assert plan.episodes.hash == plan_episodes(films, n_way=2, n_shot=2, n_query=3, n_episodes=9, seed=4).episodes.hash
