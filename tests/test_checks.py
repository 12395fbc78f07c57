import numpy as np
import pytest

from fewshot_cxr._checks import check_bool, check_list, check_whole, lookup


@pytest.mark.parametrize("value", [2, np.int8(2), np.uint64(2)])
def test_whole_numbers_pass(value):
    check_whole(value, "n", 2)


@pytest.mark.parametrize("value", [2.0, np.float32(2), "2", None, True, np.True_, [2]])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(TypeError, match="n must be a whole number, got "):
        check_whole(value, "n")


def test_a_whole_number_below_the_minimum_is_refused():
    with pytest.raises(ValueError, match="n must be at least 2, got 1"):
        check_whole(1, "n", 2)


@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_a_switch_is_true_or_false(value):
    check_bool(True, "switch")
    with pytest.raises(TypeError, match="switch must be True or False, got "):
        check_bool(value, "switch")


def test_a_text_is_no_list_of_findings():
    check_list(("a", "b"), "seen")
    with pytest.raises(TypeError, match="seen must be a list of findings, got the text 'ab'"):
        check_list("ab", "seen")


@pytest.mark.parametrize("name", [3, None, ["a"], b"a"])
def test_a_name_is_a_text(name):
    with pytest.raises(TypeError, match="rule must be a name, got .*; choose from a, b"):
        lookup({"b": 1, "a": 2}, name, what="rule")
