"""What every way of sending mail keeps, over all forms."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from exporters.mail.sender import MemorySender, Reply
from exporters.mail.smtp import SmtpSender
from pipeline.settings import Settings
from tests.mail import mail_server


class Memory:
    def __init__(self) -> None:
        self.sender = MemorySender()

    def refuse(self, address, code):
        self.sender.refuses[address] = Reply(code, "no")

    def taken(self):
        return [(m["Message-ID"], sorted(to)) for m, to in self.sender.sent]


class Smtp:
    def __init__(self, server) -> None:
        self.server = server
        self.sender = SmtpSender(Settings(smtp_host="127.0.0.1", smtp_port=server.port))

    def refuse(self, address, code):
        self.server.refuses[address] = f"{code} no"

    def taken(self):
        return [(m["Message-ID"], sorted(to)) for m, to in self.server.taken]


@pytest.fixture(params=["memory", "smtp"])
def form(request):
    if request.param == "memory":
        yield Memory()
    else:
        with mail_server() as server:
            yield Smtp(server)


def a_mail():
    message = EmailMessage()
    message["From"], message["To"] = "a@x.example", "b@x.example"
    message["Subject"] = "Größe: 12 ✓"
    message["Message-ID"] = "<one@x.example>"
    message.set_content("text\n.\nmore\n")
    return message


def test_a_mail_is_handed_over_once_for_all_who_are_welcome(form):
    handed = []
    said = form.sender.send(a_mail(), ["b@x.example", "c@x.example"], handing=lambda: handed.append(len(form.taken())))
    assert {r: reply.taken for r, reply in said.items()} == {"b@x.example": True, "c@x.example": True}
    assert form.taken() == [("<one@x.example>", ["b@x.example", "c@x.example"])]
    assert handed == [0]


def test_one_bad_recipient_of_two_is_said_and_the_other_gets_it(form):
    form.refuse("bad@x.example", 550)
    said = form.sender.send(a_mail(), ["b@x.example", "bad@x.example"])
    assert (said["bad@x.example"].code, said["bad@x.example"].final, said["bad@x.example"].taken) == (550, True, False)
    assert said["b@x.example"].taken
    assert form.taken() == [("<one@x.example>", ["b@x.example"])]


def test_a_recipient_who_is_busy_may_be_asked_again(form):
    form.refuse("busy@x.example", 451)
    said = form.sender.send(a_mail(), ["busy@x.example"])
    assert not said["busy@x.example"].final
    assert not said["busy@x.example"].taken


def test_nothing_is_handed_over_when_nobody_is_welcome(form):
    form.refuse("bad@x.example", 550)
    form.refuse("busy@x.example", 451)
    handed = []
    form.sender.send(a_mail(), ["bad@x.example", "busy@x.example"], handing=lambda: handed.append(1))
    assert handed == []
    assert form.taken() == []
