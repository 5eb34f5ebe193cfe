"""Which heads are requests: RFC 9113 sections 8.2 and 8.3, and what HTTP/1.1 could not carry."""

from __future__ import annotations

import pytest

from ezai.errors import HeadersTooLarge, InvalidRequest
from ezai.server.http2.fields import check_trailers, read_request
from tests.server.http2.client import Fields

METHOD, SCHEME, PATH, AUTHORITY = (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")
GOOD = [METHOD, SCHEME, PATH, AUTHORITY]
LIMIT = 1000


def test_a_good_head() -> None:
    head = read_request([*GOOD, (b"x-a", b"1"), (b"content-length", b"7"), (b"te", b"trailers")], LIMIT)
    assert (head.method, head.target, head.length, head.expects_continue) == ("GET", b"/", 7, False)
    assert head.fields == [(b"host", b"a"), (b"x-a", b"1"), (b"content-length", b"7"), (b"te", b"trailers")]


@pytest.mark.parametrize(
    "hosts", [[AUTHORITY], [(b"host", b"a")], [AUTHORITY, (b"host", b"a")]], ids=["authority", "host", "both"]
)
def test_there_is_one_host_whichever_way_it_came(hosts: Fields) -> None:
    head = read_request([METHOD, SCHEME, PATH, *hosts], LIMIT)
    assert [value for name, value in head.fields if name == b"host"] == [b"a"]


@pytest.mark.parametrize("value", [b"", b"a b", b"a\tb", b"\xe9", "é".encode(), b'"', b"x" * 500])
def test_values_that_are_good(value: bytes) -> None:
    assert read_request([*GOOD, (b"x-a", value)], LIMIT).fields[-1] == (b"x-a", value)


@pytest.mark.parametrize("path", [b"/", b"/v1/messages?beta=true", b"/a%20b", b"//x", b"/?", b"/~!$&'()*+,;=:@"])
def test_paths_that_are_good(path: bytes) -> None:
    assert read_request([METHOD, SCHEME, (b":path", path), AUTHORITY], LIMIT).target == path


def without(*names: bytes) -> Fields:
    return [field for field in GOOD if field[0] not in names]


FAULTY: dict[str, Fields] = {
    "8.2 name in upper case": [*GOOD, (b"X-A", b"1")],
    "8.2 name with a space": [*GOOD, (b"x a", b"1")],
    "8.2 name with a colon": [*GOOD, (b"x:a", b"1")],
    "8.2 name with a line end": [*GOOD, (b"x\r\na", b"1")],
    "8.2 name of other letters": [*GOOD, (b"x-\xe9", b"1")],
    "8.2 empty name": [*GOOD, (b"", b"1")],
    "8.2 value with CR LF": [*GOOD, (b"x-a", b"1\r\nx-b: 2")],
    "8.2 value with LF": [*GOOD, (b"x-a", b"1\n2")],
    "8.2 value with NUL": [*GOOD, (b"x-a", b"1\x002")],
    "8.2 value with a control character": [*GOOD, (b"x-a", b"1\x7f")],
    "8.2 value behind a space": [*GOOD, (b"x-a", b" 1")],
    "8.2 value before a tab": [*GOOD, (b"x-a", b"1\t")],
    "8.2.2 connection": [*GOOD, (b"connection", b"close")],
    "8.2.2 keep-alive": [*GOOD, (b"keep-alive", b"timeout=5")],
    "8.2.2 proxy-connection": [*GOOD, (b"proxy-connection", b"keep-alive")],
    "8.2.2 transfer-encoding": [*GOOD, (b"transfer-encoding", b"chunked")],
    "8.2.2 upgrade": [*GOOD, (b"upgrade", b"h2c")],
    "8.2.2 te": [*GOOD, (b"te", b"gzip")],
    "8.3 unknown": [*GOOD, (b":status", b"200")],
    "8.3 protocol": [*GOOD, (b":protocol", b"websocket")],
    "8.3 behind a field": [METHOD, SCHEME, (b"x-a", b"1"), PATH, AUTHORITY],
    "8.3.1 no method": without(b":method"),
    "8.3.1 no scheme": without(b":scheme"),
    "8.3.1 no path": without(b":path"),
    "8.3.1 two methods": [*GOOD, METHOD],
    "8.3.1 two paths": [*GOOD, PATH],
    "8.3.1 empty path": [*without(b":path"), (b":path", b"")],
    "8.3.1 method that is none": [*without(b":method"), (b":method", b"GET /x HTTP/1.1\r\n")],
    "8.3.1 empty method": [*without(b":method"), (b":method", b"")],
    "8.3.1 relative path": [*without(b":path"), (b":path", b"v1")],
    "8.3.1 whole URL": [*without(b":path"), (b":path", b"http://a/")],
    "8.3.1 asterisk": [*without(b":path"), (b":path", b"*")],
    "8.3.1 path with a space": [*without(b":path"), (b":path", b"/ HTTP/1.1")],
    "8.3.1 path with a fragment": [*without(b":path"), (b":path", b"/#x")],
    "8.3.1 path of other letters": [*without(b":path"), (b":path", b"/\xff")],
    "8.3.1 authority with a line end": [*without(b":authority"), (b":authority", b"a\r\nx: y")],
    "8.3.1 two hosts": [*GOOD, (b"host", b"b")],
    "8.3.1 one host twice": [*GOOD, (b"host", b"a"), (b"host", b"a")],
    "8.3.1 no host": without(b":authority"),
    "8.3.1 two hosts without authority": [*without(b":authority"), (b"host", b"a"), (b"host", b"a")],
    "8.5 CONNECT": [(b":method", b"CONNECT"), AUTHORITY],
    "8.1.1 two lengths": [*GOOD, (b"content-length", b"3"), (b"content-length", b"4")],
    "8.1.1 one length twice": [*GOOD, (b"content-length", b"3"), (b"content-length", b"3")],
    "8.1.1 list of lengths": [*GOOD, (b"content-length", b"3, 3")],
    "8.1.1 signed length": [*GOOD, (b"content-length", b"+3")],
    "8.1.1 negative length": [*GOOD, (b"content-length", b"-3")],
    "8.1.1 empty length": [*GOOD, (b"content-length", b"")],
    "8.1.1 endless length": [*GOOD, (b"content-length", b"9" * 50)],
}


@pytest.mark.parametrize("case", FAULTY)
def test_what_is_no_request_is_a_400(case: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request(FAULTY[case], LIMIT)
    assert caught.value.message.startswith("The request ")
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    "fields",
    [[(b"x-a", b"v" * 1000)], [(b"x" * 1000, b"")], [(b"x-a", b"")] * 30, [(b"a", b"")] * 101],
    ids=["value", "name", "many small ones", "number"],
)
def test_what_is_too_large_is_a_431(fields: Fields) -> None:
    limit = 100_000 if len(fields) > 100 else LIMIT
    with pytest.raises(HeadersTooLarge):
        read_request([*GOOD, *fields], limit)
    with pytest.raises(HeadersTooLarge):
        check_trailers(fields * 2, limit)


@pytest.mark.parametrize("field", [(b":path", b"/"), (b"X", b""), (b"connection", b"close"), (b"x", b"\n")])
def test_trailers_have_to_be_good(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(InvalidRequest):
        check_trailers([(b"x-a", b"1"), field], LIMIT)
