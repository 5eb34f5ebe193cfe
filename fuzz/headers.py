"""Fuzz target: the filter of the headers that cross between a client and an Anthropic upstream.

Whatever the fields: only the patterns cross, no value of ours holds a control character, and no credential passes.

    python fuzz/headers.py fuzz/corpus/headers -max_total_time=15
"""

import sys

import atheris

with atheris.instrument_imports(include=["ezai"]):
    from ezai.policy.keys import read_credentials
    from ezai.translate.crossing import UPSTREAM_REQUEST_ID, to_client, to_upstream

SECRET = b"canary"
CREDENTIALS = {b"authorization", b"x-api-key", b"cookie", b"set-cookie", b"proxy-authorization"}


def fields_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Lines of `name: value`, as a parser hands them on: lower-case names."""
    pairs = [line.partition(b":") for line in data.split(b"\n")]
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def one_input(data: bytes) -> None:
    """The invariant."""
    fields = fields_of(data)
    given = set(fields)
    for name, value in to_upstream(fields, ("x-*", "*beta*")):
        assert name not in CREDENTIALS
        assert name.startswith((b"anthropic-", b"x-claude-code-", b"x-stainless-")) or name in {b"x-app", b"user-agent"}
        assert (name, value) in given or name in {b"anthropic-version", b"anthropic-beta"}
        assert name not in {b"anthropic-workspace-id", b"anthropic-user-profile-id"}
    for name, value in to_client(fields):
        assert name not in CREDENTIALS
        assert name.startswith((b"anthropic-", b"retry-after")) or name in {b"x-should-retry", UPSTREAM_REQUEST_ID}
        assert not any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in value)
    assert SECRET.decode() not in repr(read_credentials([*fields, (b"x-api-key", SECRET)]))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
