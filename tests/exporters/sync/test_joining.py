"""A join that the Kafka client has begun and forgotten is taken up again."""

import pytest
from kafka.coordinator.base import BaseCoordinator
from kafka.coordinator.consumer import ConsumerCoordinator

from exporters.sync.kafka import finish_joining


class Coordinator:
    def __init__(self, *, rejoining, needed):
        self.rejoining, self.rejoin_needed = rejoining, needed

    need_rejoin = BaseCoordinator.need_rejoin
    request_rejoin = BaseCoordinator.request_rejoin


class Consumer:
    def __init__(self, coordinator):
        self._coordinator = coordinator


@pytest.mark.parametrize(
    ("rejoining", "needed", "after"), [(True, False, True), (True, True, True), (False, False, False)]
)
def test_only_a_join_under_way_that_nobody_awaits_is_asked_for_again(rejoining, needed, after):
    coordinator = Coordinator(rejoining=rejoining, needed=needed)
    finish_joining(Consumer(coordinator))
    assert coordinator.rejoin_needed is after


def test_the_client_still_has_what_the_mending_rests_on():
    """If this fails after an update: see whether a join that outlives its poll is awaited by the next one, and remove `finish_joining`."""
    names = BaseCoordinator.__init__.__code__.co_names
    assert {"rejoining", "rejoin_needed", "_join_task"} <= set(names)
    assert "_assignment_snapshot" in ConsumerCoordinator.need_rejoin.__code__.co_names
    assert "rejoin_needed" in BaseCoordinator.request_rejoin.__code__.co_names
