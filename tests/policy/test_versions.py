"""What a strict gateway asks of `anthropic-version`."""

from __future__ import annotations

import pytest

from ezai.errors import InvalidRequest
from ezai.policy.versions import NEW, OLD, check_version

FIELDS = ("model", "max_tokens", "messages")


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("2023-06-01", FIELDS),
        ("2023-06-01", (*FIELDS, "temperature", "top_p", "top_k")),
        ("2026-10-21", FIELDS),
        ("2026-10-21", ()),
        ("2026-10-21", (*FIELDS, "stop_sequences", "Temperature")),
    ],
)
def test_a_version_and_its_fields(version: str, fields: tuple[str, ...]) -> None:
    check_version(version, fields)


def test_without_a_version_the_answer_names_one() -> None:
    with pytest.raises(InvalidRequest, match=f"^anthropic-version: header is required.*{NEW}"):
        check_version(None, FIELDS)


@pytest.mark.parametrize("version", ["", "2023-01-01", "2026-10-22", " 2023-06-01", "latest", "2023-06-01, 2026-10-21"])
def test_an_unknown_version_is_answered_with_the_known_ones(version: str) -> None:
    with pytest.raises(InvalidRequest, match="^anthropic-version: ") as caught:
        check_version(version, FIELDS)
    assert NEW in caught.value.message
    assert OLD in caught.value.message
    assert caught.value.http_status == 400


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_the_new_version_knows_no_sampling(field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{field}: .*{NEW}"):
        check_version(NEW, {field: 1, **dict.fromkeys(FIELDS)})
