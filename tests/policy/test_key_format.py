"""The form of a virtual key."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.policy.key_format import KEY_PATTERN, RANDOM_BYTES, KeyParts, make_key, masked, parse_key

BASE62 = string.ascii_letters + string.digits
random_bytes = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
keys = random_bytes.map(make_key)


def test_an_example() -> None:
    key = make_key(bytes(range(RANDOM_BYTES)))
    assert key == "sk-ezai-IYT0XLWR_1u8QmlquE1rQpeqoulx6MZVGVGgufeog3UsDEHmrG2p2pZtq8"
    assert parse_key(key) == KeyParts("IYT0XLWR", "Ztq8")
    assert masked(KeyParts("IYT0XLWR", "Ztq8")) == "sk-ezai-IYT0XLWR_...Ztq8"


@given(random_bytes)
def test_a_key_has_the_form_and_is_read_back(random: bytes) -> None:
    key = make_key(random)
    assert re.fullmatch(r"sk-ezai-[0-9A-Za-z]{8}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", key)
    parts = parse_key(key)
    assert parts == KeyParts(key[8:16], key[-4:])


@given(random_bytes, random_bytes)
def test_other_random_bytes_are_another_key(one: bytes, other: bytes) -> None:
    assert (make_key(one)[17:] == make_key(other)[17:]) == (one[8:] == other[8:])


@given(keys, st.data())
def test_one_changed_character_is_refused(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.sampled_from(BASE62 + "-_ \n\u0661").filter(lambda char: char != key[place]))
    assert parse_key(key[:place] + other + key[place + 1 :]) is None


@given(keys, st.integers(0, 64))
def test_two_neighbours_swapped_are_refused(key: str, place: int) -> None:
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert (parse_key(swapped) is None) == (swapped != key)


@given(keys, st.text(max_size=3), st.text(max_size=3))
def test_more_or_less_is_refused(key: str, before: str, after: str) -> None:
    assert (parse_key(before + key + after) is None) == bool(before or after)
    assert parse_key(key[:-1]) is None
    assert parse_key(key[1:]) is None


@given(st.text())
def test_other_text_is_no_key(text: str) -> None:
    assert parse_key(text) is None


@given(st.text(), keys, st.text())
def test_a_key_is_found_in_any_text(before: str, key: str, after: str) -> None:
    assert key in [match[0] for match in KEY_PATTERN.finditer(before + key + after)]


@pytest.mark.parametrize("length", [0, RANDOM_BYTES - 1, RANDOM_BYTES + 1])
def test_too_few_or_too_many_random_bytes_make_no_key(length: int) -> None:
    with pytest.raises(ValueError, match=f"not {length}"):
        make_key(bytes(length))


def test_the_secret_holds_256_bits() -> None:
    assert 62**43 > 2**256
    assert parse_key(make_key(b"\xff" * RANDOM_BYTES)) is not None
