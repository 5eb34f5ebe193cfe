"""Small GGUF files, built by the format's description, for tests of what reads them."""

import struct

UINT32, STRING, ARRAY, UINT64 = 4, 8, 9, 10


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, offset: int) -> bytes:
    return text(name) + struct.pack("<IQQIQ", 2, 4, 4, 0, offset)


def gguf(*, context: int = 512, version: int = 3, data: bytes = bytes(128), extra: tuple[bytes, ...] = ()) -> bytes:
    """A whole file of two tensors, 64 bytes each, that claims to be a llama of that context."""
    pairs = (
        pair("general.architecture", STRING, text("llama")),
        pair("llama.context_length", UINT32, struct.pack("<I", context)),
        pair("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 3) + text("a") + text("b") + text("\u00e9")),
        pair("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ", 6, 3) + bytes(12)),
        pair("general.file_type", UINT32, struct.pack("<I", 3)),
        *extra,
    )
    tensors = (tensor("a", 0), tensor("b", 64))
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data
