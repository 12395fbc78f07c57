import numpy as np
import pytest

from fewshot_cxr._checks import check_above, check_at_least, check_bool, check_list, check_whole, lookup


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


@pytest.mark.parametrize("value", [np.nan, -np.inf, -1, np.float32("nan"), 2**70, np.inf, 1e308, "1", None])
def test_no_number_that_a_network_cannot_reckon_with_passes(value):
    for check in (lambda: check_above(value, 0, "lr"), lambda: check_at_least(value, 0, "lr")):
        if value == 2**70:  # 1.2e21
            check()
        else:
            with pytest.raises((TypeError, ValueError), match=r"^lr must be .*, got "):
                check()
    with pytest.raises((TypeError, ValueError), match=r"^n must be .*, got "):
        check_whole(value, "n", 0)
    with pytest.raises(ValueError, match="lr must be above 0, got 0"):
        check_above(0, 0, "lr")


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
