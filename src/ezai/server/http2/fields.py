"""Header blocks: a request's is read and checked (RFC 9113 sections 8.2 and 8.3), an answer's is written.

What HTTP/1.1 could not carry is refused although it would do no harm here, because another reader of the same request
might stand behind or before this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hpack import Decoder, HPACKError, OversizedHeaderListError

from ezai.errors import HeadersTooLarge, InvalidRequest
from ezai.ports import Headers
from ezai.server.edge import MAX_FIELDS
from ezai.server.http2.frames import Code, ConnectionFault

Field = tuple[bytes, bytes]

SLACK: Final = 3
"""A head of so many times the limit is read nevertheless, to be told so: what was not read ends the connection."""
FIELD_BYTES: Final = 32
"""What a field counts for beside its name and value (section 6.5.2)."""

_OF_ONE_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_PSEUDO_FIELDS = frozenset({b":method", b":scheme", b":authority", b":path"})
_IS_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_IS_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_IS_TARGET = re.compile(rb"/[!-\"$-~]*").fullmatch
_IS_LENGTH = re.compile(rb"[0-9]{1,18}").fullmatch
_BREAKS_A_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$").search


class RequestHead(NamedTuple):
    """The head of a request that can be served. Among its fields is one `host`, whichever way it came."""

    method: str
    target: bytes
    fields: list[Field]
    length: int | None
    expects_continue: bool


class FieldReader:
    """Reads the header blocks of one connection, which build on each other."""

    def __init__(self, limit_bytes: int) -> None:
        self.most_bytes = SLACK * limit_bytes
        """Of a block, compressed or not."""
        self._decoder = Decoder(self.most_bytes)

    def read(self, block: bytes) -> list[Field]:
        """The fields of a whole block. Raises `ConnectionFault`: what comes after one that is not read has no sense."""
        try:
            return [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "A head is far too large.") from None
        except HPACKError:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "A head cannot be decompressed.") from None


def read_request(decoded: Sequence[Field], limit_bytes: int) -> RequestHead:
    """Raises `HeadersTooLarge` or `InvalidRequest`, as the client is to be told."""
    _check_size(decoded, limit_bytes)
    pseudo, fields = _parted(decoded)
    for name, value in fields:
        _check_field(name, value)
    method, target = _method_and_target(pseudo)
    _add_host(fields, pseudo.get(b":authority", b""))
    expects_continue = any(name == b"expect" and value.lower() == b"100-continue" for name, value in fields)
    return RequestHead(method.decode(), target, fields, _length(fields), expects_continue)


def check_trailers(decoded: Sequence[Field], limit_bytes: int) -> None:
    """Trailers mean nothing here, but have to be good. Raises as `read_request`."""
    _check_size(decoded, limit_bytes)
    for name, value in decoded:
        _check_field(name, value)


def _check_size(decoded: Sequence[Field], limit_bytes: int) -> None:
    if len(decoded) > MAX_FIELDS + len(_PSEUDO_FIELDS):
        raise HeadersTooLarge(f"The request has more than {MAX_FIELDS} header fields.")
    if sum(len(name) + len(value) + FIELD_BYTES for name, value in decoded) > limit_bytes:
        raise HeadersTooLarge(f"The request's headers are larger than {limit_bytes} bytes.")


def _parted(decoded: Iterable[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    """What HTTP/1.1 has in its first line and its Host, and the fields."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[Field] = []
    for name, value in decoded:
        if not name.startswith(b":"):
            fields.append((name, value))
        elif fields or name in pseudo or name not in _PSEUDO_FIELDS:
            raise _malformed("a pseudo-header field is unknown, repeated, or behind a field")
        elif _BREAKS_A_VALUE(value):
            raise _malformed("a pseudo-header field holds a control character")
        else:
            pseudo[name] = value
    return pseudo, fields


def _check_field(name: bytes, value: bytes) -> None:
    if not _IS_NAME(name):
        raise _malformed("a field's name is not of lower-case letters, digits and a few signs")
    if _BREAKS_A_VALUE(value):
        raise _malformed("a field's value holds a control character, or has spaces around it")
    if name in _OF_ONE_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
        raise _malformed(f"{name.decode()} has no meaning there")


def _method_and_target(pseudo: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not _IS_METHOD(method):
        raise _malformed("it has no :method")
    if method == b"CONNECT":
        raise _malformed("CONNECT is not offered")
    if not pseudo.get(b":scheme"):
        raise _malformed("it has no :scheme")
    if not _IS_TARGET(target):
        raise _malformed("its :path is not an absolute path in ASCII")
    return method, target


def _add_host(fields: list[Field], authority: bytes) -> None:
    hosts = [value for name, value in fields if name == b"host"]
    if not authority and len(hosts) != 1:
        raise InvalidRequest(f"The request has {len(hosts)} Host headers; send one, or :authority.")
    if authority and hosts not in ([], [authority]):
        raise _malformed("its :authority and its Host are not one")
    if not hosts:
        fields.insert(0, (b"host", authority))


def _length(fields: Iterable[Field]) -> int | None:
    lengths = [value for name, value in fields if name == b"content-length"]
    if not lengths:
        return None
    if len(lengths) > 1 or not _IS_LENGTH(lengths[0]):
        raise _malformed("its content-length is no number, or there are several")
    return int(lengths[0])


def _malformed(what: str) -> InvalidRequest:
    return InvalidRequest(f"The request is not valid HTTP/2: {what}.")


# Writing. No field is put into the other side's table: it would cost more time than it saves bytes.

FORGET_TABLE: Final = b"\x20"
"""Said before the first block (RFC 7541 section 6.3): the table stays empty, whatever size the other side offers."""

_STATUSES = {200: b"\x88", 204: b"\x89", 400: b"\x8c", 404: b"\x8d", 500: b"\x8e"}  # RFC 7541 appendix A


def write_answer(status: int, fields: Headers) -> bytes:
    """The block of an answer's head. Fields of one connection are left out.

    Raises `ValueError` for a value that HTTP/1.1 could not carry.
    """
    block = [_STATUSES.get(status) or b"\x08\x03%d" % status]
    for name, value in fields:
        lowered = name.lower()
        if lowered in _OF_ONE_CONNECTION:
            continue
        if _BREAKS_A_VALUE(value) or not _IS_NAME(lowered):
            raise ValueError(f"the answer's field {name!r} cannot be sent")
        block += (b"\x00", _size(len(lowered)), lowered, _size(len(value)), value)
    return b"".join(block)


def _size(size: int) -> bytes:
    """A length in front of a string (RFC 7541 section 5.1, a prefix of seven bits)."""
    if size < 0x7F:
        return bytes((size,))
    octets = [0x7F]
    size -= 0x7F
    while size > 0x7F:
        octets.append(0x80 | size & 0x7F)
        size >>= 7
    octets.append(size)
    return bytes(octets)
