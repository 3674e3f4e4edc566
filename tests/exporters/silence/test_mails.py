"""Who is told of silence by mail, how often, and until when."""

from __future__ import annotations

import pytest

from deploy.local.processes import free_port
from exporters.silence import notices as notices_module
from exporters.silence.mails import GIVE_UP_SECONDS, mails
from exporters.silence.notices import Message, Notice, Notices
from pipeline import clock
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from tests.live.system import eventually
from tests.mail import mail_server

NOW = 1_774_605_600_000
TWO = ["jane@x.example", "joe@x.example"]


def notice(number, *, silent=True):
    return Notice("connector", str(number), f"connector-{number}", NOW, NOW - 5, silent)


def way(port, tmp_path):
    return mails(Settings(data=tmp_path, smtp_host="127.0.0.1", smtp_port=port, silence_recipients=", ".join(TWO)))


def test_who_has_the_mail_is_not_sent_it_again_while_another_is_refused_for_the_moment(tmp_path):
    with mail_server() as server:
        server.refuses = {TWO[0]: "450 busy"}
        [message] = way(server.port, tmp_path)([notice(1)])
        for _ in range(3):
            with pytest.raises(Unavailable, match="every recipient"):
                message.send()
        server.refuses = {}
        message.send()
        assert [to for _, to in server.taken] == [[TWO[1]], [TWO[0]]]
        assert len({m["Message-ID"] for m, _ in server.taken}) == 1


def test_who_is_refused_for_good_is_not_asked_for_again(tmp_path):
    with mail_server() as server:
        server.refuses = {TWO[0]: "550 unknown here"}
        [message] = way(server.port, tmp_path)([notice(1)])
        message.send()
        assert [to for _, to in server.taken] == [[TWO[1]]]


def test_a_mail_that_nobody_takes_is_given_up_after_a_day(tmp_path, monkeypatch):
    [message] = way(free_port(), tmp_path)([notice(1)])
    with pytest.raises(Unavailable, match="tried again"):
        message.send()
    later = clock.monotonic() + GIVE_UP_SECONDS + 1
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    message.send()


def test_all_who_fall_silent_at_once_are_one_mail(tmp_path):
    with mail_server() as server:
        write = way(server.port, tmp_path)
        [message] = write([notice(1), notice(2, silent=False), notice(3), notice(4)])
        assert [n.id for n in message.notices] == ["1", "3", "4"]
        message.send()
        [(mail, to)] = server.taken
        assert to == TWO
        assert mail["Subject"] == "Nothing heard from connector connector-1 (1) and 2 more"
        text = mail.get_body(("plain",)).get_content()
        assert [f"connector-{n}" in text for n in range(1, 5)] == [True, False, True, True]
        assert write([notice(2, silent=False)]) == []


def test_a_notice_is_noted_when_every_way_has_taken_it_and_noting_is_tried_again(monkeypatch):
    monkeypatch.setattr(notices_module, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(notices_module, "LAST_RETRY_SECONDS", 0.001)
    said, noted, fails = [], [], [Unavailable("the store is away")]
    refusals = {"2": 2}

    def together(notices):
        return [Message(notices, lambda: said.append("all"))]

    def one_by_one(notices):
        def post(n):
            if refusals.get(n.id):
                refusals[n.id] -= 1
                raise Unavailable("later")
            said.append(n.id)

        return [Message([n], lambda n=n: post(n)) for n in notices]

    def note(n):
        if n.id == "1" and fails:
            raise fails.pop(0)
        noted.append(n.id)

    telling = Notices({"mail": together, "webhook": one_by_one})
    telling.start()
    telling.tell([notice(1), notice(2), notice(3)], note)
    eventually(lambda: len(noted) == 3)
    assert sorted(said) == ["1", "2", "3", "all"]
    assert noted == ["3", "1", "2"]
    telling.stop()
    telling.join()
