"""Notices of a delivery: to everybody once, whoever has to wait, and by somebody else if a process ends before."""

from __future__ import annotations

import pytest

from exporters.mail.mailer import Mailer
from exporters.mail.sender import MemorySender, Reply
from exporters.sync import notices as notices_module
from exporters.sync.desk import ERRORS, REQUIRES_ATTENTION, Desk, Episode, State
from exporters.sync.destinations import parse
from exporters.sync.notices import Notices
from pipeline import clock
from pipeline.errors import Refused
from pipeline.metrics import Metrics
from tests.exporters.reports.conftest import servers, settings  # noqa: F401 - fixtures
from tests.live.system import eventually

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("runs")]


TROUBLE = Refused("403 AccessDenied")


@pytest.fixture
def desk(settings):  # noqa: F811
    desk = Desk(settings)
    desk.journal.start()
    eventually(lambda: desk.journal.ready)
    yield desk
    desk.journal.stop()


@pytest.fixture
def notices(settings, desk, monkeypatch):  # noqa: F811
    """Of one process, who mails by this sender."""
    monkeypatch.setattr(notices_module, "RETRY_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(notices_module, "OVERDUE_MS", -1)

    def of(member: str, sender, to=("ops@x.example",), **more):
        destination = parse("a", {"target": "/tmp/a", "mail": to, **more})
        return Notices(settings, desk, "a", destination, Metrics(), Mailer(settings, sender), member)

    return of


def test_who_has_a_notice_is_not_sent_it_again_while_another_is_refused_for_the_moment(notices):
    sender = MemorySender({"busy@x.example": Reply(450, "busy")})
    one = notices("one", sender, ["busy@x.example", "ops@x.example"])
    for _ in range(3):
        one.look(TROUBLE, 0.0, worked_at=0)
    assert [to for _, to in sender.sent] == [("ops@x.example",)]
    sender.refuses.clear()
    for _ in range(2):
        one.look(TROUBLE, 0.0, worked_at=0)
    assert [to for _, to in sender.sent] == [("ops@x.example",), ("busy@x.example",)]


def test_what_a_process_could_not_tell_before_it_ended_is_told_by_the_next_one_and_not_by_another_meanwhile(
    notices, desk
):
    away, sender = MemorySender({"ops@x.example": Reply(450, "busy")}), MemorySender()
    first, second = notices("first", away), notices("second", sender)
    desk.tell("a", State(clock.now_ms(), "first", []))
    for _ in range(3):
        first.look(TROUBLE, 0.0, worked_at=0)
        second.look(TROUBLE, 0.0, worked_at=0)
    assert (desk.episode("a").told, sender.sent) == (False, [])
    desk.leave("a", State(clock.now_ms(), "first", []))
    for _ in range(3):
        second.look(TROUBLE, 0.0, worked_at=0)
    assert desk.episode("a").told
    assert len(sender.sent) == 1


def test_nobody_hears_of_an_end_before_its_beginning(notices, monkeypatch):
    monkeypatch.setattr(notices_module, "RETRY_SECONDS", (1000.0, 1000.0))
    sender = MemorySender({"ops@x.example": Reply(450, "busy")})
    one = notices("one", sender)
    one.look(TROUBLE, 0.0, worked_at=0)
    sender.refuses.clear()
    for _ in range(2):
        one.look(None, 0.0, worked_at=clock.now_ms() + 1)
    assert sender.sent == []
    monkeypatch.setattr(clock, "monotonic", lambda now=clock.monotonic: now() + 3000)
    for _ in range(2):
        one.look(None, 0.0, worked_at=0)
    assert [ERRORS in str(m) or REQUIRES_ATTENTION in str(m) for m, _ in sender.sent] == [True, False]


def test_what_is_on_its_way_when_a_destination_is_changed_is_told_the_new_way(notices, desk):
    sender = MemorySender()
    desk.tell("a", State(clock.now_ms(), "one", []))
    notices("one", MemorySender({"ops@x.example": Reply(450, "busy")})).look(TROUBLE, 0.0, worked_at=0)
    changed = notices("one", sender, ["others@x.example"])
    for _ in range(2):
        changed.look(TROUBLE, 0.0, worked_at=0)
    assert [to for _, to in sender.sent] == [("others@x.example",)]
    assert desk.episode("a").told


def test_a_destination_that_is_deleted_takes_its_pause_and_its_trouble_with_it(desk):
    content = {"target": "/tmp/a"}
    desk.put("a", content)
    desk.pause("a")
    desk.write_episode("a", Episode("1", ERRORS, "x", 5))
    desk.remove("a")
    desk.put("a", content)
    assert (desk.paused("a"), desk.episode("a")) == (None, None)


class Surprising(MemorySender):
    def send(self, *_args, **_kwargs):
        raise RuntimeError("nobody foresaw this")


def test_a_surprise_ends_the_notice_and_not_who_tells_it(notices, desk):
    one = notices("one", Surprising())
    for _ in range(2):
        one.look(TROUBLE, 0.0, worked_at=0)
    assert desk.episode("a").told
