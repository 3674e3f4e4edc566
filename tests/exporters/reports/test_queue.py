"""The queue on a real Redis: an entry has one holder, a dead holder's comes to another, and nothing depends on what it remembers."""

from __future__ import annotations

import pytest

from deploy.local.processes import free_port
from exporters import redis
from exporters.reports import queue as queue_module
from exporters.reports.queue import LANES, LONG, SHORT, Queue
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from tests.live.system import eventually

ROOM = {SHORT: 10, LONG: 10}


def empty(settings):
    client = redis.connect(settings)
    names = list(client.scan_iter(match=f"{settings.app_id}:*"))
    if names:
        client.delete(*names)
    return names


def test_an_entry_is_given_to_one_service_only(settings):
    one, two = (Queue(settings, name, alone=False) for name in ("one", "two"))
    for number in range(4):
        assert one.offer(f"r{number}", SHORT)
    assert not two.offer("r1", SHORT)
    taken = one.take({SHORT: 3, LONG: 0}) + two.take(ROOM)
    assert [t.run for t in taken] == ["r0", "r1", "r2", "r3"]
    assert two.take(ROOM) == []


def test_what_a_dead_service_held_comes_to_another_and_what_a_living_one_renews_does_not(settings, monkeypatch):
    monkeypatch.setattr(queue_module, "LEASE_SECONDS", 0.3)
    dead, living, heir = (Queue(settings, name, alone=False) for name in ("dead", "living", "heir"))
    dead.offer("left", SHORT)
    dead.offer("kept", SHORT)
    dead.take({SHORT: 1})
    kept = living.take({SHORT: 1})
    assert [t.run for t in kept] == ["kept"]

    def inherited():
        living.keep(kept)
        return heir.take({SHORT: 5})

    assert [t.run for t in eventually(inherited)] == ["left"]


def test_a_service_that_is_alone_waits_for_no_lease_of_its_earlier_life(settings):
    before = Queue(settings, "before", alone=True)
    before.offer("r", LONG)
    before.take(ROOM)
    after = Queue(settings, "after", alone=True)
    assert after.take(ROOM) == []  # taken out, to be offered by whoever sees it in the journal
    assert after.offer("r", LONG)
    assert [t.run for t in after.take(ROOM)] == ["r"]


def test_what_is_done_is_gone_and_may_be_offered_again(settings):
    queue = Queue(settings, "one", alone=False)
    queue.offer("r", SHORT)
    [taken] = queue.take(ROOM)
    queue.done(taken)
    queue.done(taken)
    assert queue.lengths() == dict.fromkeys(LANES, 0)
    assert queue.offer("r", SHORT)


def test_an_emptied_server_is_noticed_and_filled_again(settings):
    queue = Queue(settings, "one", alone=False)
    queue.offer("r", SHORT)
    queue.take(ROOM)
    assert empty(settings)
    assert queue.take(ROOM) == []
    assert queue.offer("r", SHORT)
    assert [t.run for t in queue.take(ROOM)] == ["r"]


def test_a_server_that_is_away_is_said_so(tmp_path):
    queue = Queue(Settings(redis=f"redis://127.0.0.1:{free_port()}/0"), "one", alone=False)
    for call in (lambda: queue.offer("r", SHORT), lambda: queue.take(ROOM), queue.lengths):
        with pytest.raises(Unavailable, match="Redis"):
            call()
