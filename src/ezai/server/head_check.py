"""What of an HTTP/1.1 head is refused although llhttp takes it."""

from __future__ import annotations


def problem_of(headers: list[tuple[bytes, bytes]], version: str, method: bytes) -> str | None:
    """What is wrong with it, if anything: another reader of the same bytes might see it otherwise."""
    if method == b"CONNECT":
        return "A tunnel is not offered; send plain HTTP/1.1."
    if version not in {"1.0", "1.1"}:
        return f"HTTP/{version} is not offered here; send HTTP/1.1."
    hosts, is_otherwise_coded = 0, False
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            is_otherwise_coded |= value.strip().lower() != b"chunked" or version == "1.0"
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return f"The request has {hosts} Host headers; send one."
    if is_otherwise_coded:
        return "The only transfer coding that is understood is chunked, in HTTP/1.1."
    return None
