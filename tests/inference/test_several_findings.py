from pathlib import Path

import numpy as np

from fewshot_cxr.data import cache_films
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import embed_films
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Record, Records


def test_a_film_has_a_row_of_findings():
    films = (Record("a.png", ("x", "z"), patient_id="1"), Record("b.png", ()), Record("c.png", ("y",), patient_id="1"))
    embeddings = with_facts(np.eye(3), Records(films, Path()), is_multi_label=True)
    assert embeddings.class_names == ("x", "y", "z")
    np.testing.assert_array_equal(embeddings.class_ids, [[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert embeddings.patient_ids[0] == embeddings.patient_ids[2] != embeddings.patient_ids[1]
    assert embeddings.paths == ("a.png", "b.png", "c.png")


def test_the_vectors_are_those_of_embed_films(tmp_path):
    records = make_synthetic(tmp_path, n_patients=2, findings=("normal", "effusion"), size_px=32)
    encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4, seed=0)
    films = cache_films(records, encoder.image_spec)
    one, several = embed_films(encoder, films), embed_films(encoder, films, is_multi_label=True)
    np.testing.assert_array_equal(several.vectors, one.vectors)
    np.testing.assert_array_equal(several.class_ids.argmax(axis=1), one.class_ids)
    np.testing.assert_array_equal(several.patient_ids, one.patient_ids)


def test_what_nobody_looked_for_is_not_stated():
    films = (Record("a.png", ("x",), unstated=("y",)), Record("b.png", ("y",)))
    table = with_facts(np.eye(2), Records(films, Path()), is_multi_label=True).class_ids
    np.testing.assert_array_equal(table, [[1, np.nan], [0, 1]])
