"""Whatever a gateway managed to send can be refused, listed and sent again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.model.events import Reason, Rejected
from pipeline.model.rejects import refused, reject_of, source_of
from pipeline.topics import REJECT_BYTES

WHY = Rejected(Reason.TOO_LARGE)


def record(value=b"x", key=b"k", headers=()):
    return SimpleNamespace(topic="t", partition=3, offset=7, timestamp=1, key=key, value=value, headers=list(headers))


def kept(given):
    """The reject as a reader of the rejects topic sees it."""
    key, value, headers = refused("t", 3, given, WHY)
    assert len(key or b"") + len(value or b"") + sum(len(k) + len(v or b"") for k, v in headers) < REJECT_BYTES
    return SimpleNamespace(topic="r", partition=3, offset=0, timestamp=2, key=key, value=value, headers=headers)


def test_bytes_key_and_headers_are_unchanged_and_the_origin_of_a_replay_stays():
    given = record(
        headers=[("ce_id", b"1"), ("empty", None), ("activity-reason", b"old"), ("activity-origin", b"t/1/2")]
    )
    made = kept(given)
    assert (made.key, made.value) == (given.key, given.value)
    assert made.headers[:2] == [("ce_id", b"1"), ("empty", None)]
    assert reject_of(made)[:5] == ("t/1/2", "too_large", "$", 2, 1)


@pytest.mark.parametrize(
    "given",
    [
        record(value=b"y" * (3 << 20)),
        record(value=b"y" * (1 << 20), key=b"k" * (1 << 20)),
        record(value=b"y" * 100, headers=[("h", b"z" * (4 << 20))]),
        record(value=b"y" * 100, headers=[("h" * 40, None)] * 60_000),
        record(value=None, key=b"k" * (3 << 20)),
        record(value=b"y" * 100, headers=[("activity-origin", b"t/1/" + b"9" * (3 << 20))]),
    ],
    ids=["value", "key", "header", "headers", "nothing but a key", "origin"],
)
def test_what_no_reject_has_room_for_says_how_long_it_was(given):
    made = kept(given)
    told = reject_of(made)
    assert told.id == "t/3/7"
    assert told.size == len(given.value or b"")
    assert (given.value or b"").startswith(made.value or b"")
    assert len(made.value or b"") == min(told.size, len(made.value or b"")) > 0 or not given.value


@pytest.mark.parametrize("id_", ["t/" + "9" * 5_000 + "/1", "t/3/1", "t/-1/1", "t/²/1", "u/0/1", "t", ""])
def test_an_origin_that_is_no_place_of_ours_is_none(id_):
    assert source_of(id_, {"t": 3}) is None
    assert source_of("t/2/" + "9" * 5_000, {"t": 3}) == ("t", 2)
