"""Progress is told to every service, also to one that comes later; without Redis each knows its own."""

from __future__ import annotations

from deploy.local.processes import free_port
from exporters import redis
from exporters.reports.progress import Progress, Watch
from pipeline.settings import Settings
from tests.live.system import eventually


def test_every_service_hears_of_every_change(settings):
    teller, hearer = Watch(settings), Watch(settings)
    heard = []
    hearer.listen(heard.append)
    hearer.start()
    eventually(lambda: hearer.connected)
    words = [Progress("r1", 0.25, 10, 3000), Progress("r1", 0.5, 20, 2000), Progress("r2", 0.1)]
    for word in words:
        teller.tell(word)
    eventually(lambda: len(heard) == len(words))
    assert heard == words
    assert hearer.of("r1") == words[1]
    hearer.stop()


def test_what_is_no_progress_is_not_the_last_that_is_heard(settings, monkeypatch):
    monkeypatch.setattr("exporters.reports.progress.AGAIN_SECONDS", 0.01)
    hearer = Watch(settings)
    hearer.start()
    eventually(lambda: hearer.connected)
    redis.connect(settings).publish(redis.key(settings, "progress"), "{}")

    def heard():
        Watch(settings).tell(Progress("r1", 0.5))
        return hearer.of("r1")

    assert eventually(heard) == Progress("r1", 0.5)
    hearer.stop()


def test_a_service_that_comes_later_learns_what_was_told(settings):
    teller = Watch(settings)
    teller.tell(Progress("r1", 0.5, 20, 2000))
    teller.tell(Progress("over", 0.9))
    teller.forget("over")
    late = Watch(settings)
    late.start()
    assert eventually(lambda: late.of("r1")) == Progress("r1", 0.5, 20, 2000)
    assert late.of("over") is None
    late.stop()


def test_without_redis_nobody_waits_and_a_service_knows_its_own():
    alone = Watch(Settings(redis=f"redis://127.0.0.1:{free_port()}/0"))
    alone.tell(Progress("r1", 0.5))
    assert alone.of("r1") == Progress("r1", 0.5)
    alone.forget("r1")
    assert alone.of("r1") is None
