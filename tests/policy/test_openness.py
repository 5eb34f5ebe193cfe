"""What a gateway without keys answers, and to whom."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import InvalidRequest, PermissionDenied
from ezai.policy.openness import check_content_type, check_host, is_loopback

LOOPBACK = ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1"]
ELSEWHERE = [
    "", " ", ".", "0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "126.255.255.255", "::2", "fe80::1", "example.com",
    "localhost.example", "127.0.0.1.example", "local", "localhost\x00", "0x7f.0.0.1", "0177.0.0.1", "127.1",
    "2130706433", "127.0.0.1/8", "127.0.0.1 ", " 127.0.0.1", "١٢٧.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_elsewhere(host: str) -> None:
    assert not is_loopback(host)


@given(st.ip_addresses())
def test_of_all_addresses_few_are_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    networks = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is None:
        assert is_loopback(str(address)) is any(address in network for network in networks)


@pytest.mark.parametrize(
    "header",
    ["localhost", "localhost:8080", "LocalHost.:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8080"],
)
def test_a_host_of_this_machine_is_answered(header: str) -> None:
    check_host(header)


@pytest.mark.parametrize(
    "header",
    [
        None, "", ":8080", "evil.example", "evil.example:8080", "localhost.evil.example", "localhost:", "localhost:x",
        "localhost:80:80", "localhost:123456", "localhost/", "localhost#", "localhost?", "evil@localhost",
        "evil\\@localhost", "::1", "[::1", "::1]", "[localhost]", "[127.0.0.1]x", "[::2]", "[::1%lo]",
        "127.0.0.1,evil.example", "localhost evil.example", "localhost\tevil.example", "http://localhost", "0.0.0.0",
    ],
)  # fmt: skip
def test_another_host_is_refused(header: str | None) -> None:
    with pytest.raises(PermissionDenied, match="127.0.0.1 or localhost") as caught:
        check_host(header)
    assert caught.value.http_status == 403
    assert "evil" not in caught.value.message


@given(st.text(st.sampled_from("localhst127.0:[]%@/\\ \t1evil")) | st.text())
def test_any_host_is_answered_or_refused(header: str) -> None:
    with suppress(PermissionDenied):
        check_host(header)
        name, _, port = header.rpartition(":") if header.rpartition(":")[2].isdecimal() else (header, "", "")
        assert is_loopback(name.strip("[]"))
        assert len(port) <= 5


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        " application/json ;x",
        "application/a+json",
    ],
)
def test_json_is_taken(content_type: str) -> None:
    check_content_type(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "application/jsonp", "text/plain; application/json", "text/plain, application/json", "json",
        "application/json, text/plain",
    ],
)  # fmt: skip
def test_what_a_page_may_send_without_asking_is_refused(content_type: str | None) -> None:
    with pytest.raises(InvalidRequest, match="^content-type: ") as caught:
        check_content_type(content_type)
    assert caught.value.http_status == 400
