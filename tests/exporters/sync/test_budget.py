"""Destinations come and go in one process: they share one budget of memory, and end with it."""

import threading
from types import SimpleNamespace

import pytest

from exporters.sync.app import House
from exporters.sync.destinations import parse
from exporters.sync.door import Door
from exporters.sync.pump import Pump
from pipeline.settings import Settings

BUDGET = 32_000_000


@pytest.fixture
def house(tmp_path):
    """Its pumps wait for a Kafka that is not there."""
    made = House(Settings(data=tmp_path, kafka="127.0.0.1:9", sync_memory_bytes=BUDGET))
    yield made
    for pump in made._pumps.values():
        pump.stop()
    for pump in made._pumps.values():
        pump.join()


def test_destinations_that_come_and_go_share_the_budget_anew_each_time(house, tmp_path):
    wanted = house._settings.destinations

    def shares():
        house._hire()
        assert set(house._pumps) == set(wanted)
        return {pump.memory_bytes for pump in house._pumps.values()}

    for number in range(4):
        wanted[f"d{number}"] = {"target": str(tmp_path / str(number))}
        assert shares() == {BUDGET // (number + 1)}
    del wanted["d0"], wanted["d2"]
    assert shares() == {BUDGET // 2}


def test_while_one_ends_the_others_are_told_of(house, tmp_path, monkeypatch):
    """It may take as long as its place is away."""
    house._settings.destinations["other"] = {"target": str(tmp_path / "other")}
    house._hire()
    told = threading.Event()
    house._told["other"] = None
    monkeypatch.setattr(house, "_tell", lambda name, _pump, **_: told.set() if name == "other" else None)

    class Slow(Pump):
        def run(self):
            told.wait()

    gone = parse("gone", {"target": str(tmp_path / "gone")})
    door = Door(gone.target, lambda: "gone")
    house._pumps["gone"] = Slow(house._settings, "gone", gone, door, house._metrics, memory_bytes=BUDGET)
    house._notices["gone"] = None
    house._pumps["gone"].start()
    house._hire()
    assert told.is_set()
    assert set(house._pumps) == {"other"}


def test_what_nobody_wants_any_more_is_nobodys_trouble(house, tmp_path):
    """It would be told once more, and be there still when a destination of this name is made again."""
    house._settings.destinations["gone"] = {"target": str(tmp_path)}
    house._hire()
    looked = []
    house._notices["gone"] = SimpleNamespace(look=lambda *_, **__: looked.append("gone"))
    house._notify()
    del house._settings.destinations["gone"]
    house._notify()
    assert looked == ["gone"]


def test_nobody_is_hired_by_a_house_that_ends(house, tmp_path):
    house._settings.destinations["late"] = {"target": str(tmp_path)}
    house._stopping.set()
    house._hire()
    assert house._pumps == {}


def test_who_was_hired_while_the_house_began_to_end_is_stopped_with_it(house, tmp_path):
    house._settings.destinations["late"] = {"target": str(tmp_path)}

    class Attendant(threading.Thread):
        """Who had looked just before, and hires now."""

        def run(self):
            house._stopping.wait()
            house._pumps["late"] = house._pump("late", parse("late", {"target": str(tmp_path)}), BUDGET)

    house._aides = [Attendant()]
    house._aides[0].start()
    house.stop()
    assert not house._pumps["late"].is_alive()


class Broken:
    """A client whose own loop has died."""

    def close(self, **_):
        raise RuntimeError("NetworkSelector closed!")


def test_a_client_that_does_not_close_well_ends_nothing_else(house, tmp_path):
    house._settings.destinations["one"] = {"target": str(tmp_path)}
    house._hire()
    house._pumps["one"]._let_go(Broken(), Broken())
