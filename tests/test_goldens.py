"""What the commands write and print on synthetic films is what it was: tests/goldens, made by made_goldens.py."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
from made_goldens import NUMBER, make_goldens

GOLDENS = Path(__file__).parent / "goldens"
NAMES = sorted(file.relative_to(GOLDENS).as_posix() for file in GOLDENS.rglob("*") if file.is_file())
FRAMES = re.compile(r"[\s\u2500-\u257f]+")  # of tables: as wide as their longest number


def is_close(text, other):
    """Whether two numbers are one but for what another processor rounds: whole numbers are exact.

    Where its rounding decides one query in thousands otherwise, an interval moves by a thousandth.
    """
    if not ("." in text or "e" in text):
        return text == other
    digit = 10.0 ** -len(text.partition(".")[2].partition("e")[0])
    values = [float(number.replace(",", "")) for number in (text, other)]
    return math.isclose(*values, rel_tol=4e-3, abs_tol=max(5e-4, 1.01 * digit if digit > 1e-6 else 0))


def difference(text, other):
    """The first place where two texts differ, or ""."""
    texts = [FRAMES.sub(" ", one) for one in (text, other)]
    words, numbers = ([NUMBER.split(one) for one in texts], [NUMBER.findall(one) for one in texts])
    for place, (first, second) in enumerate(zip(*words, strict=False)):
        if first != second:
            return f"{first[-200:]!r} became {second[-200:]!r}"
        if place < len(numbers[0]) and place < len(numbers[1]) and not is_close(numbers[0][place], numbers[1][place]):
            return f"{numbers[0][place]} became {numbers[1][place]} after {first[-200:]!r}"
    return "" if len(words[0]) == len(words[1]) else "one is longer"


@pytest.mark.slow
def test_every_file_and_text_is_what_it_was(tmp_path):
    folder, out = tmp_path / "folder", tmp_path / "out"
    folder.mkdir()
    make_goldens(folder, out)
    assert sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()) == NAMES
    texts = {name: [(place / name).read_text(encoding="utf-8") for place in (GOLDENS, out)] for name in NAMES}
    assert not {name: change for name, pair in texts.items() if (change := difference(*pair))}


def test_another_number_or_word_is_seen():
    for text, other in pairwise(["a 0.51 of 12", "a 0.53 of 12", "a 0.53 of 13", "b 0.53 of 13", "b 0.53 of 13 films"]):
        assert difference(text, other)
    assert not difference("0.123456789 │ 2", "0.123456780  2")
