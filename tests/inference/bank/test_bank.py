"""The bank as a value: what changes it returns another one, what it holds decides what it is, and what it refuses."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_banks import KNOWN, N_EXEMPLARS, NEW, laid_bank, save_network

from fewshot_cxr.data import cache_films
from fewshot_cxr.data.film_digests import film_digests, write_training_films
from fewshot_cxr.encoders import build_encoder, load_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES, TRANSDUCTIVE
from fewshot_cxr.inference.bank import SupportBank, bank_counts, bank_json
from fewshot_cxr.inference.bank import file as bank_file
from fewshot_cxr.inference.bank.exemplar_table import hashed
from fewshot_cxr.records import Records
from fewshot_cxr.storage import load_tensors, save_tensors

FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
SOME_ROWS = st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True)
OF_BOTH = st.lists(st.integers(0, 23), min_size=1, max_size=12, unique=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return laid_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def bank(place):
    return place.bank


@pytest.fixture(scope="module")
def apart(place):
    """Films of the known findings of patients who have no exemplar."""
    return place.known.where(lambda film: hashed(film.patient_id) not in place.bank.table.patients)


def part(bank, rows, *, with_all=True):
    """Return a bank of some exemplars; of each finding the first one at least."""
    rows = sorted({*rows, 0, N_EXEMPLARS}) if with_all else sorted(rows)
    return replace(bank, table=bank.table.take(rows))


def file_of(place, film):
    return place.films.root / film.path


def saved(bank, folder, **how):
    bank.save(folder / "a.bank", **how)
    return folder / "a.bank"


# What it is


def test_a_bank_is_built_of_exemplars_spread_over_patients(bank):
    assert bank.findings == KNOWN
    assert len(bank) == 2 * N_EXEMPLARS
    assert [(one.finding, one.n_films, one.n_patients) for one in bank_counts(bank.table)] == [
        (name, N_EXEMPLARS, 12) for name in KNOWN
    ]
    assert bank.table.thumbnails.shape == (24, 32, 32)
    assert bank.terms.rule == "mean_distance"
    assert bank.terms.distance == "euclidean"
    assert bank.fitted.calibration.basis == "support"
    assert "effusion 12, normal 12" in repr(bank)
    assert "<table" in bank._repr_html_()


@pytest.mark.parametrize("n_exemplars", [5, None])
def test_a_bank_does_not_depend_on_the_order_of_films(place, n_exemplars):
    order = np.random.default_rng(0).permutation(len(place.known)).tolist()
    built = [
        SupportBank.build(place.encoder, films, n_exemplars=n_exemplars)
        for films in (place.known, place.known.take(order))
    ]
    assert built[0] == built[1]
    assert hash(built[0]) == hash(built[1])
    assert built[0].fitted == built[1].fitted
    assert built[0] != place.bank


def test_the_hash_follows_from_content_alone(place, bank):
    assert SupportBank.build(place.run, place.known, n_exemplars=N_EXEMPLARS, thumbnails=True) == bank
    assert bank.calibrate(level=0.8).content_hash == bank.content_hash
    assert replace(bank, notes=("told",), encoder=None).content_hash == bank.content_hash
    assert bank != "a bank"
    for name in (one.name for one in fields(bank.table)):
        changed = getattr(bank.table, name)
        if isinstance(changed, tuple):
            changed = (f"{changed[0]}x", *changed[1:])
        else:
            changed = changed.copy()
            changed.flat[0] = 1 - np.nan_to_num(changed.flat[0])
        assert replace(bank, table=replace(bank.table, **{name: changed})) != bank, name
    for more in ({"rule": "prototype"}, {"distance": "cosine"}, {"options": {"k": 3}}, {"trained_on": frozenset("a")}):
        assert replace(bank, terms=replace(bank.terms, **more)) != bank, more


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in TRANSDUCTIVE])
def test_every_rule_that_decides_films_singly_builds_and_answers(place, apart, rule, tmp_path):
    built = SupportBank.build(place.encoder, place.known, n_exemplars=6, rule=rule).calibrate(apart)
    again = SupportBank.load(saved(built, tmp_path), place.encoder)
    files = [file_of(place, film) for film in place.new.take(range(3))]
    assert again.predict(files) == built.predict(files)
    assert all(one.finding in KNOWN and one.probability is not None for one in built.predict(files))


@pytest.mark.parametrize("rule", sorted(TRANSDUCTIVE))
def test_a_rule_that_decides_films_together_is_refused(place, rule):
    with pytest.raises(ValueError, match=rf"^rule '{rule}' judges all films together: take one such as mean_distance$"):
        SupportBank.build(place.encoder, place.known, rule=rule)


def test_random_weights_are_refused(place):
    random = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4)
    with pytest.raises(ValueError, match="^the weights of resnet9 are random, and random distances tell nothing: take"):
        SupportBank.build(random, place.known)


def test_one_finding_is_refused(place):
    with pytest.raises(ValueError, match=r"holds one finding only \(cardiomegaly\); two are needed$"):
        SupportBank.build(place.encoder, place.new)


# What changes it


@pytest.mark.slow
@FEW
@given(rows=SOME_ROWS)
def test_add_then_remove_is_the_identity(place, bank, rows):
    grown = bank.add(NEW, place.new.take(rows))
    assert grown.findings == (NEW, *KNOWN)
    assert len(grown) == len(bank) + len(rows)
    again = grown.remove(finding=NEW)
    assert again == bank
    assert again.fitted == bank.fitted


@pytest.mark.slow
@FEW
@given(rows=SOME_ROWS, cut=st.integers(0, 5), draw=st.randoms(use_true_random=False))
def test_the_order_of_adding_does_not_matter(place, bank, rows, cut, draw):
    other = draw.sample(rows, len(rows))
    first, second = bank, bank.add(NEW, place.new.take(rows))
    for some in (other[:cut], other[cut:]):
        first = first.add(NEW, place.new.take(some)) if some else first
    assert first == second
    assert first.fitted == second.fitted


@pytest.mark.slow
@FEW
@given(rows=OF_BOTH, others=OF_BOTH)
def test_merge_is_commutative_idempotent_and_of_all(bank, rows, others):
    first, second = part(bank, rows), part(bank, others)
    both = first.merge(second)
    assert both == second.merge(first) == part(bank, [*rows, *others])
    assert both.merge(first) == both.merge(both) == both
    assert both.fitted == second.merge(first).fitted


def test_of_two_copies_of_a_film_that_of_a_known_patient_stays(place, bank):
    unknown = replace(place.known, films=tuple(replace(film, patient_id=None) for film in place.known))
    other = SupportBank.build(place.encoder, unknown, n_exemplars=N_EXEMPLARS, thumbnails=True)
    both = bank.merge(other)
    assert both == other.merge(bank)
    known = {digest for digest, one in zip(both.table.digests, both.table.has_patient, strict=True) if one}
    assert known == set(bank.table.digests)
    assert len(both) == len(set(bank.table.digests) | set(other.table.digests))


def test_folders_of_runs_do_not_hinder_a_merge(place, bank, tmp_path):
    shutil.copytree(place.run, tmp_path / "other")
    other = SupportBank.build(tmp_path / "other", place.known, n_exemplars=N_EXEMPLARS, thumbnails=True)
    assert other == bank == bank.merge(other) == other.merge(bank)
    assert bank.merge(other).terms.to_json() == other.merge(bank).terms.to_json()


@pytest.mark.parametrize(
    ("options", "spec", "told"),
    [
        ({"stem_pool": 1}, {}, "with stem_pool 2, this encoder has 1: its vectors cannot be compared"),
        ({}, {"top_crop": 0.1}, r"with top_crop 0\.0, this encoder has 0\.1: its vectors"),
        ({"dropout": 0.5}, {}, None),  # in training alone
    ],
)
def test_the_same_weights_in_another_network_are_another_encoder(place, bank, tmp_path, options, spec, told):
    encoder = load_encoder(place.run)
    encoder.recipe = {**encoder.recipe, "options": {**encoder.recipe["options"], **options}}
    encoder.image_spec = replace(encoder.image_spec, **spec)
    bank.save(tmp_path / "a.bank")
    if told is None:
        assert SupportBank.load(tmp_path / "a.bank", encoder).encoder is encoder
        return
    with pytest.raises(ValueError, match=told):
        SupportBank.load(tmp_path / "a.bank", encoder)
    other = SupportBank.build(encoder, place.known, n_exemplars=3)
    with pytest.raises(ValueError, match="^the banks were made by two encoders, resnet9 with "):
        bank.merge(other)


def test_a_merge_refuses_what_cannot_be_compared(place, bank, tmp_path):
    save_network(tmp_path / "run", seed=1)
    other = SupportBank.build(tmp_path / "run", place.known, n_exemplars=3)
    with pytest.raises(
        ValueError,
        match="^the banks were made by two encoders, resnet9 with weights [0-9a-f]{12} and resnet9 with [0-9a-f]{12}$",
    ):
        bank.merge(other)
    other = SupportBank.build(place.encoder, place.known, n_exemplars=3, rule="prototype")
    told = "^the banks have two kinds of rule, mean_distance and prototype: build one anew$"
    with pytest.raises(ValueError, match=told):
        bank.merge(other)


def test_one_film_by_two_findings_is_refused(place, bank):
    film = next(film for film in place.known if film.path in bank.table.films and film.finding == "normal")
    told = rf"^{film.path} is {NEW} here and normal in the bank: the same film; remove one first$"
    with pytest.raises(ValueError, match=told):
        bank.add(NEW, Records((film,), place.films.root))


def test_films_that_are_there_already_change_nothing(place, bank):
    films = place.known.where(lambda film: film.path in bank.table.films and film.finding == "normal")
    assert bank.add("normal", films) == bank


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "name what is to go: a finding, a film or a patient, one of them"),
        ({"finding": "normal", "film": "a"}, "name what is to go: a finding, a film or a patient, one of them"),
        ({"patient": "nobody"}, "nothing of that patient is in the bank"),
        ({"film": "nowhere.png"}, "nothing of that film is in the bank"),
        ({"finding": NEW}, "nothing of that finding is in the bank"),
        ({"finding": "normal"}, "a bank knows two findings or more, and fewer would be left: delete the file instead"),
    ],
)
def test_removals_that_cannot_be(bank, asked, told):
    with pytest.raises(ValueError, match=f"^{told}$"):
        bank.remove(**asked)


# What a patient leaves behind


def patient_of(place, bank):
    """Return a patient with an exemplar, and the rows of the table that are theirs."""
    film = next(film for film in place.known if film.path in bank.table.films)
    return film.patient_id, [row for row, one in enumerate(bank.table.patients) if one == hashed(film.patient_id)]


def test_a_patient_who_is_removed_leaves_no_trace(place, bank, tmp_path):
    name, rows = patient_of(place, bank)
    table = bank.table
    traces = [name.encode(), hashed(name).encode(), *(table.films[row].encode() for row in rows)]
    traces += [table.digests[row].encode() for row in rows]
    traces += [picture[row].tobytes() for picture in (table.thumbnails, table.vectors, table.features) for row in rows]
    assert all(trace in saved(bank, tmp_path).read_bytes() for trace in traces)
    smaller = bank.remove(patient=name)
    assert not any(trace in saved(smaller, tmp_path).read_bytes() for trace in traces)
    before, after = bank.fitted, smaller.fitted
    assert sum(after.calibration.patients.values()) == sum(before.calibration.patients.values()) - 1
    assert after.thresholds.n_patients == before.thresholds.n_patients - 1
    assert after.calibration.temperature != before.calibration.temperature
    kept = place.known.where(lambda film: film.path in table.films and film.patient_id != name)
    assert smaller == SupportBank.build(place.encoder, kept, n_exemplars=None, thumbnails=True)


def test_a_patient_leaves_no_name_to_films_of_the_same_group(place):
    """A second patient id of one group was numbered after the first: it bore the name of whoever left."""
    first, second = sorted({film.patient_id for film in place.new})[:2]
    joined = tuple(replace(film, group_id="g") if film.patient_id in (first, second) else film for film in place.films)
    built = SupportBank.build(place.encoder, replace(place.films, films=joined), n_exemplars=None)
    assert built.table.groups.count(hashed(first)) > built.table.patients.count(hashed(first))
    smaller = built.remove(patient=first)
    assert hashed(first) not in {*smaller.table.groups, *smaller.table.patients}
    assert smaller.table.groups.count(hashed(second)) == built.table.patients.count(hashed(second))


def test_a_receipt_names_no_one(place, bank):
    name, rows = patient_of(place, bank)
    smaller = bank.remove(patient=name)
    receipt = smaller.receipt
    assert (receipt.what, receipt.n_films) == ("patient", len(rows))
    assert (receipt.before, receipt.after) == (bank.content_hash, smaller.content_hash)
    told = json.dumps([vars(receipt), receipt.text(), bank_json(smaller)["receipt"]])
    traces = [name, hashed(name), *(bank.table.films[row] for row in rows), *(bank.table.digests[row] for row in rows)]
    assert not any(trace in told for trace in traces)
    assert receipt.text() == (
        f"1 film of one patient went; the bank was {bank.content_hash[:16]} and is {smaller.content_hash[:16]}"
    )
    assert smaller.add(NEW, place.new.take([0])).receipt is None


def test_no_folder_of_this_machine_is_in_a_bank(place, bank, tmp_path):
    """Files that were added by their whole paths were named from the root of the machine on."""
    files = [file_of(place, film) for film in place.new.take([0, 1])]
    for films in (files, files[0], str(files[0].parent)):
        grown = bank.add(NEW, films)
        held = saved(grown, tmp_path).read_bytes()
        assert all(one.encode() not in held for one in place.folder.parts[1:]), films
        assert files[0].name in grown.table.films


# Its file


@pytest.mark.parametrize("is_on_films", [False, True])
def test_save_then_load_is_the_identity(place, bank, apart, tmp_path, is_on_films):
    whole = bank.calibrate(apart, level=0.8, false_reject_rate=0.1) if is_on_films else bank.calibrate()
    again = SupportBank.load(saved(whole, tmp_path), place.encoder)
    assert again == whole
    assert again.fitted == whole.fitted
    assert json.dumps(again.terms.to_json()) == json.dumps(whole.terms.to_json())
    assert again.facts() == whole.facts()
    grown = whole.add(NEW, place.new.take([0]))
    assert SupportBank.load(saved(grown, tmp_path), place.encoder).fitted == grown.fitted


@pytest.mark.slow
@FEW
@given(rows=OF_BOTH)
def test_banks_of_any_size_are_read_as_they_were_written(bank, rows, tmp_path):
    some = part(bank, rows)
    some = replace(some, fitted=bank.fitted.after_change(some.exemplars))
    again = SupportBank.load(saved(some, tmp_path))
    assert again == some
    assert again.fitted == some.fitted


def test_vectors_of_a_large_bank_stay_in_the_file_and_others_do_not(place, bank, tmp_path, monkeypatch):
    film, file = file_of(place, place.new[0]), saved(bank, tmp_path)
    small = SupportBank.load(file, place.encoder)
    monkeypatch.setattr(bank_file, "_MAPPED_FROM", 0)
    mapped = SupportBank.load(file, place.encoder)
    if (maps := Path("/proc/self/maps")).is_file():
        assert str(file) in maps.read_text()
    mapped.remove(film=bank.table.names[0]).save(file)  # another file takes the place of the one that is mapped
    assert mapped == bank
    assert mapped.predict(film) == bank.predict(film)
    file.write_bytes(bytes(file.stat().st_size))
    assert small == bank
    file = saved(bank, tmp_path)
    content = bytearray(file.read_bytes())
    content[content.index(bank.table.vectors.tobytes())] ^= 1
    file.write_bytes(content)
    with pytest.raises(OSError, match="its content does not match its hash"):
        SupportBank.load(file)


def test_names_of_many_exemplars_need_no_room_in_the_header(bank, tmp_path):
    """A header may have 100 MB, and a bank of a million exemplars could not be saved."""
    content = saved(bank, tmp_path).read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    assert bank.table.films[0].encode() in content[end:]
    assert bank.table.films[0].encode() not in content[:end]


@pytest.mark.parametrize("content", [b'["a", "b"', b'{"a": 1}', b"[1, 2]", b"\xff", b"[" * 100_000])
def test_texts_that_are_none_of_a_bank_are_refused(bank, tmp_path, content):
    tensors, header = load_tensors(saved(bank, tmp_path), kind="bank")
    tensors["text.films"] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    save_tensors(tmp_path / "a.bank", tensors, kind="bank", header=header)
    with pytest.raises(ValueError, match=r"a\.bank: its films are no list of texts$"):
        SupportBank.load(tmp_path / "a.bank")


def test_another_encoder_is_refused(place, bank, tmp_path):
    save_network(tmp_path / "run", seed=1)
    told = "^the bank was made by resnet9 with weights [0-9a-f]{12}, this encoder has [0-9a-f]{12}: its vectors cannot "
    with pytest.raises(ValueError, match=told):
        SupportBank.load(saved(bank, tmp_path), tmp_path / "run")


def test_the_encoder_is_found_beside_the_bank_by_its_weights(place, bank, tmp_path, monkeypatch):
    save_network(tmp_path / "a", seed=1)
    shutil.copytree(place.run, tmp_path / "b")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    film = file_of(place, place.new[0])
    assert SupportBank.load(saved(bank, tmp_path)).predict(film) == bank.predict(film)
    shutil.rmtree(tmp_path / "b")
    told = r"^the encoder of the bank \(resnet9, weights [0-9a-f]{12}\) is not beside it: name its run folder"
    with pytest.raises(FileNotFoundError, match=told):
        SupportBank.load(tmp_path / "a.bank").predict(film)


def test_a_bank_with_its_weights_answers_anywhere(place, bank, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    file = saved(bank, tmp_path, self_contained=True).rename(tmp_path / "elsewhere" / "mailed.bank")
    monkeypatch.chdir(tmp_path / "elsewhere")
    again, film = SupportBank.load(file.name), file_of(place, place.new[0])
    assert again.is_self_contained
    assert again.predict(film) == bank.predict(film)
    again.add(NEW, place.new.take([0])).save("grown.bank")
    assert SupportBank.load("grown.bank").is_self_contained


# Its calibration


def test_films_kept_apart_calibrate_until_exemplars_change(place, bank, apart):
    made, film = bank.calibrate(apart), file_of(place, place.new[0])
    assert made == bank
    assert made.fitted.calibration.basis == "films"
    assert made.predict(film).fitting is not None
    grown = made.add(NEW, place.new.take([1]))
    assert grown.fitted.is_stale
    assert ("calibration", "stale, since exemplars changed: calibrate again on films kept apart") in grown.facts()
    answer = grown.predict(film)
    assert (answer.probability, answer.fitting, dict(answer.probabilities)) == (None, None, {})
    again = grown.remove(finding=NEW).calibrate(apart)
    assert again.fitted == made.fitted


def test_patients_with_exemplars_calibrate_nothing(place, bank, apart):
    own = place.known.where(lambda film: film.path in bank.table.films)
    told = "^24 patients have exemplars in the bank and films to calibrate on, too: keep the films of other patients"
    with pytest.raises(ValueError, match=told):
        bank.calibrate(own)
    copies = replace(own, films=tuple(replace(film, patient_id=f"q{n}") for n, film in enumerate(own)))
    with pytest.raises(ValueError, match=told):
        bank.calibrate(copies)


def test_a_patient_is_known_again_beside_a_second_one_of_the_group(place, bank, apart):
    """Whoever shares a group with another patient was known by the other's name alone."""
    name, _ = patient_of(place, bank)
    films = (replace(apart[0], patient_id="a0", group_id="g"), replace(apart[1], patient_id=name, group_id="g"))
    with pytest.raises(ValueError, match="^1 patient has exemplars in the bank and films to calibrate on, too: keep"):
        bank.calibrate(replace(apart, films=(*films, *apart[2:])))


def test_films_that_the_encoder_was_trained_on_are_refused_by_name(place, bank, apart, tmp_path):
    shutil.copytree(place.run, tmp_path / "run")
    trained = apart.take([0, 1])
    write_training_films(tmp_path / "run", film_digests(cache_films(trained, place.encoder.image_spec)))
    other = SupportBank.build(tmp_path / "run", place.known.where(lambda film: film.path in bank.table.films))
    names = "|".join(film.path for film in trained)
    told = rf"^the encoder was trained on 2 of the {len(apart)} films to calibrate on, such as ({names}), so that they"
    with pytest.raises(ValueError, match=told):
        other.calibrate(apart)
    own = SupportBank.build(tmp_path / "run", place.known, n_exemplars=None)
    assert own.fitted.calibration is None
    assert own.fitted.why_not.startswith(f"the encoder was trained on 2 of the {len(place.known)} exemplars, such as ")


@pytest.mark.parametrize("choice", ["herding", "k_center", "medoids"])
def test_exemplars_that_were_chosen_by_their_looks_calibrate_nothing(place, apart, choice):
    built = SupportBank.build(place.encoder, place.known, n_exemplars=4, choice=choice)
    told = (
        f"exemplars chosen by '{choice}' are more alike than the films to come, so that they calibrate nothing: choose "
        "them by all or random, or calibrate on films kept apart"
    )
    assert built.fitted.why_not == told
    assert ("calibration", f"none: {told}") in built.facts()
    with pytest.raises(ValueError, match=f"^{told}$"):
        built.calibrate()
    free = {hashed(film.patient_id) for film in apart} - set(built.table.patients)
    films = apart.where(lambda film: hashed(film.patient_id) in free)
    assert built.calibrate(films).fitted.calibration.basis == "films"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"level": 1.5}, "level must be above 0 and below 1, such as 0.9, got 1.5"),
        ({"false_reject_rate": 0}, "false_reject_rate must be above 0 and below 1, such as 0.9, got 0"),
        ({"false_reject_rate": 2.0}, "false_reject_rate must be above 0 and below 1, such as 0.9, got 2.0"),
    ],
)
def test_shares_that_cannot_be_are_refused(bank, apart, how, told):
    for films in (None, apart):
        with pytest.raises(ValueError, match=f"^{told}$"):
            bank.calibrate(films, **how)


def test_a_finding_that_the_bank_lacks_is_named(place, bank):
    told = f"^the bank lacks {NEW}, of which there are films to calibrate on: add it first$"
    with pytest.raises(ValueError, match=told):
        bank.calibrate(place.new)


def test_the_encoder_need_not_be_there_to_remove_and_merge(place, bank, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = SupportBank.load(saved(bank.add(NEW, place.new.take([0])), tmp_path))
    assert alone.encoder is None
    assert alone.remove(finding=NEW) == bank == alone.remove(finding=NEW).merge(SupportBank.load(saved(bank, tmp_path)))


def test_an_encoder_that_is_loaded_is_not_changed(place):
    assert load_encoder(place.run).card == place.encoder.card
