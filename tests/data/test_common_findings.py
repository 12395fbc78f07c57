"""One list of findings for all sets."""

from pathlib import Path

import numpy as np
import pytest
from made_layouts import LAYOUTS, lay_chestxray14, lay_chexpert, lay_padchest, lay_siim_acr

from fewshot_cxr.cli.sources import Reading, read_films, read_sources
from fewshot_cxr.data import COMMON_FINDINGS, NO_FINDING, READERS, findings_table, read_dataset, write_manifest
from fewshot_cxr.data.common_findings import LOOKED_FOR, OTHER, to_common
from fewshot_cxr.data.split_names import plain
from fewshot_cxr.records import Record, Records


def test_at_most_twenty_and_no_name_means_two():
    assert len(COMMON_FINDINGS) <= 20
    names = [plain(name) for own in COMMON_FINDINGS.values() for name in own]
    assert len(names) == len(set(names))
    assert all(plain(common) in map(plain, own) for common, own in COMMON_FINDINGS.items() if common not in _MADE_UP)
    assert set(LOOKED_FOR) <= set(READERS)
    assert all(set(names) <= set(COMMON_FINDINGS) for names in LOOKED_FOR.values())


_MADE_UP = ("Mediastinum",)


def test_what_a_set_does_not_look_for_is_neither_present_nor_absent(tmp_path):
    films = read_dataset("siim_acr", lay_siim_acr(tmp_path), findings="common")
    assert films.findings == ("Pneumothorax", OTHER)
    table = findings_table(films, ("Pneumothorax", "Edema"))
    assert np.isnan(table[:, 1]).all()
    assert table[:, 0].sum() == 8


@pytest.mark.parametrize("reader", sorted(LOOKED_FOR))
def test_every_set_has_common_findings(reader, tmp_path):
    films = read_dataset(reader, LAYOUTS[reader](tmp_path), findings="common")
    own = read_dataset(reader, tmp_path if reader not in ("covid19_radiography",) else films.root)
    assert [film.path for film in films] == [film.path for film in own]
    assert set(films.findings) <= {*COMMON_FINDINGS, OTHER}
    assert set(films.findings) & {*COMMON_FINDINGS}
    assert all(not {*film.findings} & {*film.unstated} for film in films)
    looked_for = {*LOOKED_FOR[reader], NO_FINDING}
    assert all({*COMMON_FINDINGS} - looked_for <= {*film.unstated, *film.findings} for film in films)
    for name in ("patient_id", "source", "view", "split"):
        assert [getattr(film, name) for film in films] == [getattr(film, name) for film in own]


def test_names_without_a_common_one_are_counted():
    films = (Record("a.png", ("scoliosis", "Mass")), Record("b.png", ("scoliosis",), unstated=("Pneumonia",)))
    found = to_common(Records(films, Path()), "padchest")
    assert [film.findings for film in found] == [("Lung Lesion",), (OTHER,)]
    assert found[1].unstated[0] == "Pneumonia"
    assert found.notes == (
        "findings without a common name are dropped: scoliosis (2)",
        "1 films show no common finding: 'other', which is no finding to train on",
    )


def test_another_word_for_the_list_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown findings of read_dataset 'comon'"):
        read_dataset("siim_acr", lay_siim_acr(tmp_path), findings="comon")


def test_several_sets_become_one_list_that_keeps_what_each_knows(tmp_path):
    lay_chexpert(tmp_path / "a"), lay_padchest(tmp_path / "b"), lay_chestxray14(tmp_path / "c")
    sources = [f"chexpert:{tmp_path / 'a'}", f"padchest:{tmp_path / 'b'}", f"chestxray14:{tmp_path / 'c'}"]
    films = read_sources(sources, Reading(is_common=True))
    assert films.findings == ("Edema", "Effusion", "Lung Lesion", "No Finding", "Pneumonia")
    assert set(films.count_by(lambda film: film.source)) == {"Stanford", "San Juan", "NIH"}
    write_manifest(films, tmp_path / "all.csv")
    again = read_dataset("manifest", tmp_path / "all.csv")
    assert [(film.findings, film.unstated, film.view) for film in again] == [
        (film.findings, film.unstated, film.view) for film in films
    ]
    single = read_films(sources[2], Reading(is_common=True), single_label=True)
    assert {len(film.findings) for film in single} == {1}
    several = read_films(sources[2], Reading(is_common=True), several=True)
    assert several.findings == ("Effusion", "Lung Lesion")
