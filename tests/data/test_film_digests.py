import json

import pytest

from fewshot_cxr._kinds import TRAINING_FILMS
from fewshot_cxr.data.film_digests import read_training_films, write_training_films

DIGESTS = {"0123456789abcdef", "fedcba9876543210"}


def test_a_flipped_digit_is_not_believed(tmp_path):
    file = tmp_path / TRAINING_FILMS
    write_training_films(tmp_path, DIGESTS)
    assert read_training_films(file) == DIGESTS
    file.write_text(file.read_text().replace("0123", "0122"))
    with pytest.raises(ValueError, match=r"training_films.json is damaged: its digests do not match their hash"):
        read_training_films(file)


def test_a_list_of_before_the_hash_is_read(tmp_path):
    (tmp_path / TRAINING_FILMS).write_text(json.dumps({"digests": sorted(DIGESTS)}))
    assert read_training_films(tmp_path / TRAINING_FILMS) == DIGESTS


@pytest.mark.parametrize("held", [None, [], {}, {"digests": None}, {"digests": [3]}, {"digests": [], "sha256": 3}])
def test_what_is_no_list_is_refused_by_name(tmp_path, held):
    (tmp_path / TRAINING_FILMS).write_text(json.dumps(held))
    with pytest.raises(ValueError, match=r"training_films.json: it( lacks|\S* must be|\S*, an item, must be)"):
        read_training_films(tmp_path / TRAINING_FILMS)
