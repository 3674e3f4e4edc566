"""A record is read whatever its headers are called.

Kafka stores names of headers as bytes and asks nothing of them; both clients take them for UTF-8 and cannot get past a record where they are none.
"""

from __future__ import annotations

from typing import Any

from aiokafka.record.default_records import _DefaultRecordBatchPy

_OVERHEAD = 12  # a batch begins with its offset and its length, which counts neither


def forgiving(batch: bytes) -> list[Any]:
    """The records of a batch in which a reader met UnicodeDecodeError: of the names, what can be read; all else as it is."""
    reader = _DefaultRecordBatchPy(batch)
    reader._maybe_uncompress()  # noqa: SLF001 - the client's own, over bytes that forgive
    reader._buffer = _Forgiving(reader._buffer)  # noqa: SLF001
    return list(reader)


def batch_at(answer: bytes, base_offset: int) -> bytes:
    """The bytes of one batch in what a broker answered."""
    at, wanted = 0, base_offset.to_bytes(8, "big", signed=True)
    while True:
        end = at + _OVERHEAD + int.from_bytes(answer[at + 8 : at + _OVERHEAD], "big")
        if answer[at : at + 8] == wanted:
            return answer[at:end]
        at = end


class _Forgiving(bytearray):
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(at, slice) else found


class _Text(bytes):
    __slots__ = ()

    def decode(self, *_: Any) -> str:
        return bytes.decode(self, "utf-8", "replace")
