"""What makes two records the same event, hashed to 128 bits.

In this order: the origin of a replayed reject; the CloudEvents pair `ce_source` and `ce_id`; what the event itself calls its id; the value's bytes.
Each form is hashed under its own tag, so that a text of one form never equals a text of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from pipeline.topics import ORIGIN_HEADER


def identity(role: str, event_id: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """16 bytes.  `role` names the topic ("connections"), so that one id on two topics is two events."""
    if headers:
        given = dict(headers)
        origin = given.get(ORIGIN_HEADER)
        if origin is not None:
            return _hash(b"origin", role, origin)
        source, id_ = given.get("ce_source"), given.get("ce_id")
        if source and id_:
            return _hash(b"ce", role, len(source).to_bytes(4) + source + id_)
    if event_id:
        return blake2b(f"id\0{role}\0{event_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return _hash(b"bytes", role, value)


def _hash(tag: bytes, role: str, content: bytes) -> bytes:
    return blake2b(tag + b"\0" + role.encode() + b"\0" + content, digest_size=16).digest()
