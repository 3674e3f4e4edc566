"""A record is read whatever its headers are called.

Kafka stores names of headers as bytes and asks nothing of them; both clients take them for UTF-8 and cannot get past a record where they are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.record.default_records import _DefaultRecordBatchPy

_LENGTH, _OVERHEAD = slice(8, 12), 12  # of a batch: where its length stands, and what that does not count


def unpacked(batch: Iterable[Any], raw: Callable[[], bytes]) -> list[Any]:
    """A batch's records; `raw` gives its bytes, if they are needed.  Of a name that is no UTF-8, what can be read."""
    try:
        return list(batch)
    except UnicodeDecodeError:
        slow = _DefaultRecordBatchPy(raw())
        slow._maybe_uncompress()  # noqa: SLF001 - the client's own reader, over bytes that forgive
        slow._buffer = _Forgiving(slow._buffer)  # noqa: SLF001
        return list(slow)


def batch_at(answer: bytes, base_offset: int) -> bytes:
    """The bytes of one batch in what a broker answered."""
    at = 0
    while int.from_bytes(answer[at : at + 8], "big", signed=True) != base_offset:
        at += _OVERHEAD + int.from_bytes(answer[at:][_LENGTH], "big")
    return answer[at : at + _OVERHEAD + int.from_bytes(answer[at:][_LENGTH], "big")]


class _Forgiving(bytearray):
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(at, slice) else found


class _Text(bytes):
    __slots__ = ()

    def decode(self, *_: Any) -> str:
        return bytes.decode(self, "utf-8", "replace")
