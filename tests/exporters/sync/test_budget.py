"""The memory for batches is one budget over all destinations, however they come and go."""

import pytest

from exporters.sync.app import House
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
