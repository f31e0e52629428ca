"""Plain values that are as described, and the places in which others are not."""

import pytest

from data.schema import check, check_numbers

CARD = {"name": str, "size": [int], "share?": (float, None), "parts": {"seed": int}}
GOOD = {"name": "a", "size": [96, 128], "parts": {"seed": 0}, "more": object()}


@pytest.mark.parametrize("changes", [{}, {"share": 1}, {"share": None}, {"size": ()}])
def test_what_is_as_described_passes(changes):
    check(GOOD | changes, CARD, "card")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], r"card is \[\] \(list\), not dict"),
        ({}, "card has no 'name'"),
        (GOOD | {"name": 3}, r"card\.name is 3 \(int\), not str"),
        (GOOD | {"size": "96"}, r"card\.size is '96' \(str\), not a list"),
        (GOOD | {"size": [96, 1.5]}, r"card\.size\[1\] is 1\.5 \(float\), not int"),
        (GOOD | {"size": [True]}, r"card\.size\[0\] is True"),
        (GOOD | {"share": "all"}, r"card\.share is 'all' \(str\), not None"),
        (GOOD | {"parts": {"seed": None}}, r"card\.parts\.seed is None \(NoneType\), not int"),
        (GOOD | {"name": ["x"] * 10**6}, r"card\.name is \[.{0,80}\.\.\.\] \(list\), not str"),
    ],
)
def test_what_is_not_is_named_with_its_place(value, said):
    with pytest.raises(ValueError, match=f"^{said}$|^{said}"):
        check(value, CARD, "card")


@pytest.mark.parametrize("number", [-1, 11, float("nan"), float("inf")])
def test_numbers_have_bounds_wherever_they_are(number):
    check_numbers({"a": [0, {"b": 10}], "c": "text", "d": None}, 0, 10, "it")
    with pytest.raises(ValueError, match=r"it\.a\[1\]\.b is .*between 0 and 10"):
        check_numbers({"a": [0, {"b": number}]}, 0, 10, "it")
