"""Notices of a delivery by mail: to everybody once, whoever has to wait."""

from __future__ import annotations

import pytest

from exporters.mail.mailer import Mailer
from exporters.mail.sender import MemorySender, Reply
from exporters.sync import notices as notices_module
from exporters.sync.desk import Desk
from exporters.sync.destinations import parse
from exporters.sync.notices import Notices
from pipeline.errors import Refused
from pipeline.metrics import Metrics
from tests.exporters.reports.conftest import servers, settings  # noqa: F401 - fixtures
from tests.live.system import eventually

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("runs")]


def test_who_has_a_notice_is_not_sent_it_again_while_another_is_refused_for_the_moment(settings, monkeypatch):  # noqa: F811
    monkeypatch.setattr(notices_module, "RETRY_SECONDS", (0.0, 0.0))
    sender = MemorySender({"busy@x.example": Reply(450, "busy")})
    desk = Desk(settings)
    desk.journal.start()
    eventually(lambda: desk.journal.ready)
    destination = parse("a", {"target": "/tmp/a", "mail": ["busy@x.example", "ops@x.example"]})
    notices = Notices(settings, desk, "a", destination, Metrics(), Mailer(settings, sender))
    for _ in range(3):
        notices.look(Refused("403 AccessDenied"), 0.0, worked_at=0)
    assert [to for _, to in sender.sent] == [("ops@x.example",)]
    sender.refuses.clear()
    for _ in range(2):
        notices.look(Refused("403 AccessDenied"), 0.0, worked_at=0)
    assert [to for _, to in sender.sent] == [("ops@x.example",), ("busy@x.example",)]
    desk.journal.stop()
