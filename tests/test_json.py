import pytest

from fewshot_cxr._json import parse_json, read_json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("1" * 100_000, "limit"),
        ("[NaN]", "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ("{", "Expecting property name"),
    ],
)
def test_whatever_is_wrong_is_one_error_that_names_the_file(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=f"x.json is no JSON .*{words}") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_what_is_no_text_or_no_file_is_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="x.json is no JSON"):
        read_json(tmp_path / "x.json")
    for name in (".", "absent.json"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            read_json(tmp_path / name)


def test_a_file_of_more_bytes_than_any_result_has_is_not_read(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(ValueError, match="it holds 1,073,741,825 bytes, at most 1,073,741,824 are read"):
        read_json(tmp_path / "x.json")
