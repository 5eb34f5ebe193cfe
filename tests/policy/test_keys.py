"""Who is calling: both headers under one check (row T7 of the threat list)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import AuthenticationFailed, InvalidRequest
from ezai.policy.key_format import RANDOM_BYTES, make_key
from ezai.policy.keys import MAX_MODEL_CHARACTERS, Credentials, VirtualKey, authenticate, check_name, read_credentials

Headers = Sequence[tuple[bytes, bytes]]

VALID = {"sk-one": VirtualKey("one"), "sk-two": VirtualKey("two")}


def caller(headers: Headers) -> str | None:
    """The id that a gateway with two keys takes the request for, None where it refuses."""
    credentials = read_credentials(headers)
    found = list(dict.fromkeys(VALID[secret] for secret in credentials.secrets if secret in VALID))
    try:
        key = authenticate(credentials, found, open_gateway=False)
    except AuthenticationFailed:
        return None
    assert key is not None
    return key.public_id


# What a header may hold, and the key that it stands for.
VALUES: dict[str, tuple[tuple[bytes, ...], set[str]]] = {
    "absent": ((), set()),
    "one": ((b"sk-one",), {"one"}),
    "two": ((b"sk-two",), {"two"}),
    "unknown": ((b"sk-none",), set()),
    "empty": ((b"",), set()),
    "blank": ((b" \t ",), set()),
    "padded": ((b"  sk-one\t",), {"one"}),
    "twice the same": ((b"sk-one", b"sk-one"), {"one"}),
    "twice, one unknown": ((b"sk-none", b"sk-one"), {"one"}),
    "twice, conflicting": ((b"sk-one", b"sk-two"), {"one", "two"}),
    "two in one": ((b"sk-one sk-two",), set()),
    "a list": ((b"sk-one, sk-one",), set()),
    "other case": ((b"SK-ONE",), set()),
    "beyond ascii": ((b"sk-one\xff",), set()),
}


@pytest.mark.parametrize(("x_api_key", "bearer"), list(product(VALUES, VALUES)))
def test_the_matrix_of_both_headers(x_api_key: str, bearer: str) -> None:
    headers = [(b"x-api-key", value) for value in VALUES[x_api_key][0]]
    headers += [(b"authorization", b"Bearer " + value) for value in VALUES[bearer][0]]
    keys = VALUES[x_api_key][1] | VALUES[bearer][1]
    expected = keys.pop() if len(keys) == 1 else None
    for order in permutations(headers):
        assert caller([(b"host", b"sk-two"), *order]) == expected


@pytest.mark.parametrize(
    "value", [b"Bearer sk-one", b"bearer sk-one", b"BEARER sk-one", b"Bearer   sk-one ", b"Bearer \tsk-one"]
)
def test_forms_of_bearer(value: bytes) -> None:
    assert caller([(b"authorization", value)]) == "one"


@pytest.mark.parametrize(
    "value", [b"sk-one", b"Basic sk-one", b"Bearersk-one", b"Bearer", b"Token sk-one", b" Bearer sk-one", b"Bearer="]
)
def test_what_is_no_bearer(value: bytes) -> None:
    assert read_credentials([(b"authorization", value)]) == Credentials(())


@pytest.mark.parametrize("name", [b"proxy-authorization", b"cookie", b"api-key", b"x-goog-api-key", b"x-api-keys"])
def test_no_other_header_holds_a_key(name: bytes) -> None:
    assert read_credentials([(name, b"sk-one"), (name, b"Bearer sk-one")]) == Credentials(())


@pytest.mark.parametrize(
    ("secrets", "found", "said"),
    [
        ((), (), "No key was sent"),
        (("sk-none",), (), "not valid"),
        (("sk-one", "sk-two"), tuple(VALID.values()), "Two different keys"),
    ],
)
def test_a_refusal_says_why_and_holds_no_secret(
    secrets: tuple[str, ...], found: tuple[VirtualKey, ...], said: str
) -> None:
    with pytest.raises(AuthenticationFailed, match=said) as caught:
        authenticate(Credentials(secrets), found, open_gateway=False)
    assert (caught.value.http_status, caught.value.error_type) == (401, "authentication_error")
    assert "sk-" not in caught.value.message


@pytest.mark.parametrize("secrets", [(), ("sk-none",), ("a", "b")])
def test_an_open_gateway_takes_any_credential_or_none(secrets: tuple[str, ...]) -> None:
    assert authenticate(Credentials(secrets), (), open_gateway=True) is None


def test_credentials_do_not_show_their_secrets() -> None:
    credentials = read_credentials([(b"x-api-key", b"sk-secret")])
    assert credentials.secrets == ("sk-secret",)
    for shown in (repr(credentials), str(credentials), f"{credentials}"):
        assert "secret" not in shown


header_values = st.sampled_from([b"sk-one", b"sk-two", b"", b" ", b"Bearer sk-one", b"Bearer "]) | st.binary()


@given(st.lists(st.tuples(st.sampled_from([b"x-api-key", b"authorization", b"other"]), header_values)))
def test_what_is_read_is_distinct_and_was_sent(headers: Headers) -> None:
    secrets = read_credentials(headers).secrets
    assert len(set(secrets)) == len(secrets)
    for secret in secrets:
        assert secret.encode("latin-1").strip() == secret.encode("latin-1") != b""
        assert any(secret.encode("latin-1") in value for name, value in headers if name != b"other")


def test_a_models_name_that_holds_a_key_is_refused_without_saying_it() -> None:
    key = make_key(bytes(range(RANDOM_BYTES)))
    for model in (key, f"x/{key}", f"{key} "):
        with pytest.raises(InvalidRequest) as refused:
            check_name(model)
        assert key not in str(refused.value)
    check_name("sk-ezai-like")


def test_a_models_name_that_is_too_long_is_refused_by_the_limit_without_saying_it() -> None:
    for letter in ("m", "é"):
        check_name(letter * MAX_MODEL_CHARACTERS)
        with pytest.raises(InvalidRequest, match="^model: .* 256 characters at most, got 257") as refused:
            check_name(letter * (MAX_MODEL_CHARACTERS + 1))
        assert letter * 10 not in str(refused.value)
