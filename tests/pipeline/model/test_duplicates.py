"""Duplicates against their definition, however the records come in pieces."""

from __future__ import annotations

import random

import pytest

from pipeline.model.duplicates import Duplicates

LENGTH, HORIZON_MS = 16, 100


def plain(log):
    """Per record whether an earlier one of the same identity lies in its own generation or the one before, and not too far back in time."""
    return [
        any(
            earlier[2] == identity and earlier[0] // LENGTH >= offset // LENGTH - 1 and earlier[1] >= timestamp - HORIZON_MS
            for earlier in log[:n]
        )
        for n, (offset, timestamp, identity) in enumerate(log)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_the_same_whether_noted_at_once_or_one_by_one(seed):
    rng = random.Random(seed)
    log, offset, timestamp = [], rng.randrange(100), 1_000
    for _ in range(150):
        offset += rng.choice((1, 1, 1, 2, 40))  # holes, and whole generations without a record
        timestamp += rng.choice((0, 0, 1, 30, -20))
        log.append((offset, timestamp, str(rng.randrange((3, 40, 10_000)[seed % 3]))))
    duplicates = Duplicates(generation=LENGTH, horizon_ms=HORIZON_MS)
    said, at_once, rest = [], 0, log
    while rest:
        size = rng.randrange(1, 9)
        piece, rest = rest[:size], rest[size:]
        offsets, timestamps, identities = zip(*piece, strict=True)
        if duplicates.none_of(offsets[-1], timestamps, identities):
            at_once += 1
            said += [False] * len(piece)
        else:
            said += [duplicates.seen(*record) for record in piece]
    assert said == plain(log)
    assert at_once or seed % 3 < 2  # few identities: hardly a piece without one that was there
