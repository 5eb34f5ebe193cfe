from __future__ import annotations

import pytest
from msgspec import structs

from ezai.ports import UpstreamRequest
from ezai.upstreams.http.request import RequestWriter

REQUEST = UpstreamRequest("POST", "/v1/messages?beta=true", [(b"accept", b"text/event-stream")], b"{}")


def test_a_head_has_the_framing_and_the_fields_of_both_sides() -> None:
    writer = RequestWriter("http://localhost:8080", [(b"x-api-key", b"secret")])
    assert writer.head(REQUEST) == (
        b"POST /v1/messages?beta=true HTTP/1.1\r\n"
        b"host: localhost:8080\r\n"
        b"accept-encoding: identity\r\n"
        b"x-api-key: secret\r\n"
        b"content-length: 2\r\n"
        b"accept: text/event-stream\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize(
    ("base_url", "line", "host"),
    [
        ("http://h", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h"),
        ("http://h:80", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h"),
        ("http://h:81/", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h:81"),
        ("http://h/pfx", b"POST /pfx/v1/messages?beta=true HTTP/1.1", b"host: h"),
        ("http://h/a%20b/c/", b"POST /a%20b/c/v1/messages?beta=true HTTP/1.1", b"host: h"),
        ("http://[::1]:9", b"POST /v1/messages?beta=true HTTP/1.1", b"host: [::1]:9"),
        ("https://h", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h"),
        ("https://h:443", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h"),
        ("https://h:80", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h:80"),
        ("http://h:443", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h:443"),
        ("http://a_b-c.d", b"POST /v1/messages?beta=true HTTP/1.1", b"host: a_b-c.d"),
        ("http://H:9", b"POST /v1/messages?beta=true HTTP/1.1", b"host: h:9"),
    ],
)
def test_the_base_url_is_kept(base_url: str, line: bytes, host: bytes) -> None:
    assert RequestWriter(base_url).head(REQUEST).split(b"\r\n")[:2] == [line, host]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", b"", None),
        ("HEAD", b"", None),
        ("DELETE", b"", None),
        ("POST", b"", b"content-length: 0"),
        ("GET", b"abc", b"content-length: 3"),
        ("POST", b"abc", b"content-length: 3"),
    ],
)
def test_a_length_is_sent_where_a_body_is_or_is_expected(method: str, body: bytes, length: bytes | None) -> None:
    lines = RequestWriter("http://h").head(structs.replace(REQUEST, method=method, body=body)).split(b"\r\n")
    assert [line for line in lines if line.startswith(b"content-length")] == ([length] if length else [])


def test_a_field_of_the_client_stands_above_the_requests_own() -> None:
    writer = RequestWriter("http://h", [(b"authorization", b"ours")])
    head = writer.head(structs.replace(REQUEST, headers=[(b"authorization", b"theirs"), (b"x", b"y")]))
    assert head.count(b"authorization") == 1
    assert b"authorization: ours\r\n" in head
    assert b"x: y\r\n" in head


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x", b"a\x7fb"),
        (b"x\r\ny", b"a"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"", b"a"),
        (b"X-Upper", b"a"),
        (b"host", b"elsewhere"),
        (b"content-length", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"accept-encoding", b"gzip"),
        (b"expect", b"100-continue"),
        (b"upgrade", b"h2c"),
    ],
)
def test_a_header_that_cannot_be_sent_is_the_callers_error(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="header"):
        RequestWriter("http://h").head(structs.replace(REQUEST, headers=[field]))
    with pytest.raises(ValueError, match="header"):
        RequestWriter("http://h", [field])


def test_an_error_names_the_header_and_never_its_value() -> None:
    with pytest.raises(ValueError, match="x-api-key") as caught:
        RequestWriter("http://h", [(b"x-api-key", b"sk-secret\r\n")])
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("value", [b"", b"\t", b"caf\xc3\xa9", b'a, b;c="d"'])
def test_every_other_value_is_sent_as_it_is(value: bytes) -> None:
    head = RequestWriter("http://h").head(structs.replace(REQUEST, headers=[(b"x", value)]))
    assert b"\r\nx: %b\r\n" % value in head


@pytest.mark.parametrize(
    "request_",
    [
        structs.replace(REQUEST, method="post"),
        structs.replace(REQUEST, method="POST /x HTTP/1.1\r\n"),
        structs.replace(REQUEST, method=""),
        structs.replace(REQUEST, path="v1"),
        structs.replace(REQUEST, path="/v1 x"),
        structs.replace(REQUEST, path="/v1\r\nx: y"),
        structs.replace(REQUEST, path="/v1#x"),
        structs.replace(REQUEST, path="/é"),
        structs.replace(REQUEST, path=""),
    ],
)
def test_a_request_line_that_cannot_be_sent_is_the_callers_error(request_: UpstreamRequest) -> None:
    with pytest.raises(ValueError, match="must"):
        RequestWriter("http://h").head(request_)


@pytest.mark.parametrize(
    "base_url",
    [
        "ftp://h",
        "h:80",
        "http://",
        "http://é",
        "http://a b",
        "http://.h",
        "https://",
        "http://user:password@h",
        "http://h?x=y",
        "http://h#x",
        "http://h/a b",
        "http://h:99999",
        "http://h:port",
        "http://[password@h",
        "http://user:password/@h",
    ],
)
def test_a_base_url_that_cannot_be_used_is_the_callers_error(base_url: str) -> None:
    with pytest.raises(ValueError, match="^the .*base URL ") as caught:
        RequestWriter(base_url)
    assert "password" not in str(caught.value).replace("must not hold a user or a password", "")
