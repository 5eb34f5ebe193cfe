"""Which models a key may ask for."""

from __future__ import annotations

import pytest

from ezai.errors import PermissionDenied
from ezai.policy.keys import VirtualKey, check_model, may_ask_for


@pytest.mark.parametrize(
    ("globs", "model", "allowed"),
    [
        ((), "anything", True),
        (("*",), "anything", True),
        (("claude-*",), "claude-sonnet-4-5", True),
        (("claude-*",), "my-claude-x", False),
        (("claude-*",), "Claude-x", False),
        (("a", "b?"), "b1", True),
        (("a", "b?"), "b", False),
        (("org/*",), "org/x/y", True),
    ],
)
def test_globs(globs: tuple[str, ...], model: str, allowed: bool) -> None:
    key = VirtualKey("ab12cd34", models=globs)
    assert may_ask_for(key, model) is allowed
    if allowed:
        check_model(key, model)
    else:
        with pytest.raises(PermissionDenied, match="may not ask for") as refused:
            check_model(key, model)
        assert refused.value.http_status == 403


def test_an_open_gateway_limits_no_model() -> None:
    check_model(None, "anything")
    assert may_ask_for(None, "anything")
