"""The protocol under random histories, and each of its laws broken once to see that the histories notice."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests import simulation

HISTORIES = int(os.environ.get("ACTIVITY_TEST_HISTORIES", "10000"))


def wrong(seeds: range) -> list[str]:
    return [f"seed {s}: {f}" for s in seeds for f in simulation.faults(simulation.run(s, retention=s % 5 == 4))][:5]


@pytest.mark.parametrize("share", range(4))
def test_every_history_ends_with_the_plain_count_of_the_log(share):
    length = HISTORIES // 4
    assert wrong(range(share * length, (share + 1) * length)) == []
