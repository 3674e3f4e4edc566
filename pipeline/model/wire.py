"""What a changelog record says.  Keys and values are JSON: the changelog is a published interface, read with any tool.

    key                                             value
    ["user","113312","x@example.com",1774605600,12] {"epoch":7,"revision":40,"rollup":{…}}    a fragment: absolute state, never a delta
    "#ledger"                                       {"epoch":7,"ledger":{"offset":40,…}}      what became of every source offset up to 40
    "#fence"                                        {}                                        an owner begins; the record's offset is its epoch

A fragment key is: principal (kind, id, e-mail), bucket start in epoch seconds, offset of the first event inside.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from pipeline.model.events import Principal

FENCE = b"#fence"
LEDGER = b"#ledger"
FENCE_VALUE = b"{}"

R = TypeVar("R")


class Ledger(msgspec.Struct, omit_defaults=False):
    """What became of every offset of one source partition from `first_offset` up to and including `offset`."""

    offset: int
    first_offset: int
    applied: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = {}
    gaps: int = 0  # holes in the log itself: control records, compaction
    lost: int = 0  # offsets that retention took before they were read
    max_event_time: int = 0  # UTC ms, 0: none yet
    waiting_since: int = (
        0  # when the first record since the ledger before was appended to the source, UTC ms, 0: no record
    )
    source_id: str = ""  # topic ids, so that a recreated topic is noticed
    changelog_id: str = ""

    @property
    def accounted(self) -> int:
        return self.applied + self.duplicate + sum(self.rejected.values()) + self.gaps + self.lost

    @property
    def holds(self) -> bool:
        """The identity: every offset is in exactly one column."""
        return self.accounted == self.offset + 1 - self.first_offset

    def copy(self) -> Ledger:
        return msgspec.structs.replace(self, rejected=dict(self.rejected))


class Point(msgspec.Struct):
    """Where a start may begin: a verified ledger, the changelog offset it lies at, its epoch.  Travels as commit metadata."""

    ledger: Ledger | None = None
    at: int = 0
    epoch: int = -1


class State(msgspec.Struct, Generic[R], omit_defaults=True):
    """A fragment's value.  `rollup` is absent in a healed key that never had a valid value."""

    epoch: int
    revision: int
    rollup: R | None = None


class LedgerState(msgspec.Struct):
    epoch: int
    ledger: Ledger


_encoder = msgspec.json.Encoder()
_key_decoder = msgspec.json.Decoder(tuple[str, str, str, int, int])
_ledger_decoder = msgspec.json.Decoder(LedgerState)
_point_decoder = msgspec.json.Decoder(Point)


def encode_key(principal: Principal, bucket: int, first_offset: int) -> bytes:
    """`bucket` counts 900-second steps since the epoch."""
    return _encoder.encode((*principal, bucket * 900, first_offset))


def decode_key(key: bytes) -> tuple[Principal, int, int]:
    kind, id_, email, start, first_offset = _key_decoder.decode(key)
    return Principal(kind, id_, email), start // 900, first_offset


def encode_state(epoch: int, revision: int, rollup: Any) -> bytes:
    return _encoder.encode(State(epoch, revision, rollup))


def state_decoder(rollup: type[R]) -> msgspec.json.Decoder[State[R]]:
    return msgspec.json.Decoder(State[rollup])  # type: ignore[valid-type]


def encode_ledger(epoch: int, ledger: Ledger) -> bytes:
    return _encoder.encode(LedgerState(epoch, ledger))


def decode_ledger(value: bytes) -> LedgerState:
    return _ledger_decoder.decode(value)


def encode_point(point: Point) -> str:
    """At most 4,096 bytes: a broker refuses longer commit metadata."""
    return _encoder.encode(point).decode()


def decode_point(metadata: str) -> Point:
    return _point_decoder.decode(metadata)
