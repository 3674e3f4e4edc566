"""How far the store is said to be: never further than it is, and hardly less far."""

from __future__ import annotations

from exporters.snapshots.horizon import MARKS, Horizon
from pipeline import clock
from pipeline.errors import Unavailable


class World:
    """A topic that grows and a store that follows, moment by moment."""

    def __init__(self, monkeypatch):
        self.now, self.end, self.stored = 0, 0, 0
        self.away = False
        monkeypatch.setattr(clock, "now_ms", lambda: self.now)
        self.horizon = Horizon(self.ends, lambda ends: self.stored < ends["t"][0])

    def ends(self):
        if self.away:
            raise Unavailable("Kafka is away")
        return {"t": {0: self.end}}

    def pass_(self, *, grows, stores, ms=500):
        self.now += ms
        self.end += grows
        self.stored = min(self.end, self.stored + stores)
        self.horizon.advance()
        return self.horizon.at


def test_the_horizon_is_the_newest_moment_whose_events_are_all_there(monkeypatch):
    world = World(monkeypatch)
    assert world.pass_(grows=0, stores=0) == 500
    assert world.pass_(grows=10, stores=9) == 500
    assert world.pass_(grows=10, stores=1) == 1000
    assert world.pass_(grows=10, stores=20) == 2000
    assert world.pass_(grows=0, stores=0) == 2500


def test_a_store_that_follows_by_so_much_is_said_to_be_behind_by_so_much(monkeypatch):
    world = World(monkeypatch)
    world.pass_(grows=30, stores=0)
    found = []
    for _ in range(9):
        at = world.pass_(grows=10, stores=10)
        found.append(world.now - (at or 0))
    assert found[3:] == [1500] * 6


def test_a_store_that_is_hours_behind_is_not_forgotten_while_it_follows(monkeypatch):
    world = World(monkeypatch)
    for _ in range(5 * MARKS):
        world.pass_(grows=2, stores=1)
    assert world.horizon.at > 0
    assert world.now / 2 - world.horizon.at < 16_000
    assert len(world.horizon._marks) <= MARKS


def test_before_the_store_has_caught_up_nothing_is_known(monkeypatch):
    world = World(monkeypatch)
    assert world.pass_(grows=10, stores=5) is None
    assert world.pass_(grows=1, stores=5) == 500


def test_while_kafka_is_away_it_stands(monkeypatch):
    world = World(monkeypatch)
    world.pass_(grows=1, stores=1)
    world.away = True
    assert world.pass_(grows=0, stores=0) == 500
    world.away = False
    assert world.pass_(grows=0, stores=0) == 1500
