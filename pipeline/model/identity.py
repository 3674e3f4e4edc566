"""What makes two records the same event.

In this order: the origin of a replayed reject; the CloudEvents pair `ce_source` and `ce_id`; what the event itself calls its id; the value's bytes.
All are hashed to 128 bits, each under its own tag, so that a text of one form never equals a text of another; only an event's own id stays the text
it is while it is short, for a hash costs more than it saves there.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from pipeline.topics import ORIGIN_HEADER

SHORT = 96

Identity = str | bytes


def identity(event_id: str, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> Identity:
    """What a partition remembers of an event: at most 96 characters or 16 bytes."""
    if headers:
        given = dict(headers)
        origin = given.get(ORIGIN_HEADER)
        if origin is not None:
            return digest(b"origin", origin)
        source, id_ = given.get("ce_source"), given.get("ce_id")
        if source and id_:
            return digest(b"ce", len(source).to_bytes(4) + source + id_)
    if event_id:
        return event_id if len(event_id) <= SHORT else digest(b"id", event_id.encode("utf-8", "surrogatepass"))
    return digest(b"bytes", value)


def digest(tag: bytes, content: bytes) -> bytes:
    """16 bytes."""
    return blake2b(tag + b"\0" + content, digest_size=16).digest()
