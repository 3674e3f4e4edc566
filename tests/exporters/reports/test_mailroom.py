"""What a mail server says, and what becomes of the mail."""

from __future__ import annotations

import pytest

from deploy.local.processes import free_port
from exporters.reports.mails import CLAIMED, DONE, HANDING, WAITING, Mail
from exporters.reports.runs import BUILDING, FAILED
from exporters.reports.runs import WAITING as RUN_WAITING
from exporters.reports.steps import Step
from tests.exporters.reports.lives import Kills, Life, live_through
from tests.exporters.reports.test_deaths import a_run, asked, office, over, post, store  # noqa: F401 - fixtures
from tests.live.system import eventually
from tests.mail import mail_server

TWO = ["jane@x.example", "joe@x.example"]


@pytest.fixture
def life(office, store):  # noqa: F811
    made = Life(office, store)
    yield made
    made.end()


def told(life, run, *, turns=60):
    asked(run)(life.works)
    for _ in range(turns):
        life.turn()
        mail = life.works.mails.get(run.run)
        if mail is not None and mail.state in (DONE, WAITING):
            return mail
    raise AssertionError(life.works.runs.all())


def two(**more):
    run = a_run(**more)
    run.recipients = TWO
    return run


def test_one_refused_of_two_is_noted_and_the_other_is_told_once(life, post):  # noqa: F811
    post.refuses = {TWO[0]: "550 unknown here"}
    mail = told(life, two())
    assert (mail.state, mail.said) == (DONE, {TWO[0]: 550, TWO[1]: 250})
    life.turn()
    assert [to for _, to in post.taken] == [[TWO[1]]]


def test_who_is_busy_is_asked_again_and_nobody_else_is(life, post):  # noqa: F811
    post.refuses = {TWO[0]: "451 busy"}
    mail = told(life, two())
    assert (mail.state, mail.said) == (WAITING, {TWO[1]: 250})
    assert mail.retry_at > mail.changed_at
    life.turn()
    assert len(post.taken) == 1  # not before its time
    post.refuses = {}

    def done():
        life.turn()
        return life.works.mails.get(mail.run).state == DONE

    eventually(done)
    assert [to for _, to in post.taken] == [[TWO[1]], [TWO[0]]]
    assert len({m["Message-ID"] for m, _ in post.taken}) == 1


def test_a_final_refusal_is_final(life, post):  # noqa: F811
    post.refuses = dict.fromkeys(TWO, "550 no")
    mail = told(life, two())
    assert (mail.state, mail.said) == (DONE, dict.fromkeys(TWO, 550))
    life.turn()
    assert post.taken == []


def test_a_server_that_is_away_is_waited_for_and_said_on_the_page(store, office):  # noqa: F811
    port = free_port()
    life = Life(office.model_copy(update={"smtp_port": port}), store)
    try:
        run = two()
        mail = told(life, run)
        assert mail.state == WAITING
        assert "does not take mail now" in life.works.degraded()[0]
        with mail_server(port) as server:

            def sent():
                life.turn()
                return server.taken

            eventually(sent)
        eventually(lambda: life.works.mails.get(run.run).state == DONE)
        assert life.works.degraded() == []
    finally:
        life.end()


def test_a_server_that_was_away_is_tried_again_whatever_was_told_before(store, office, monkeypatch):  # noqa: F811
    monkeypatch.setattr("exporters.reports.mailroom.AWAY_SECONDS", 0.0)
    port = free_port()
    life = Life(office.model_copy(update={"smtp_port": port}), store)
    try:
        with mail_server(port) as server:
            assert told(life, a_run("first")).state == DONE
        assert told(life, a_run("second")).state == WAITING
        with mail_server(port) as server:
            assert told(life, a_run("third")).state == DONE
            eventually(lambda: life.turn() or life.works.mails.get("second").state == DONE)
            assert {m["Message-ID"] for m, _ in server.taken} == {"<run-second@localhost>", "<run-third@localhost>"}
    finally:
        life.end()


def test_a_mail_that_cannot_be_made_holds_no_other_up(life, post):  # noqa: F811
    bad = a_run("bad")
    bad.parameters.tz = "Nowhere/Else"
    mail = told(life, bad)
    assert (mail.state, mail.handed) == (WAITING, 0)
    assert "could not be made" in mail.error
    assert told(life, a_run("good")).state == DONE
    assert [m["Message-ID"] for m, _ in post.taken] == ["<run-good@localhost>"]


def test_a_failure_is_mailed_with_its_reason(life, post):  # noqa: F811
    run = a_run()
    asked(run)(life.works)
    runs = life.works.runs
    at = runs.change(runs.get(run.run), RUN_WAITING, attempt=1, holder="x")
    at = runs.change(at, BUILDING)
    runs.change(at, FAILED, error="the store <was> away")

    def mailed():
        life.works.mailroom.turn()
        return post.taken

    eventually(mailed)
    [(message, _)] = post.taken
    assert "could not be made" in message["Subject"]
    assert "the store <was> away" in message.get_body(["plain"]).get_content()
    assert "the store &lt;was&gt; away" in message.get_body(["html"]).get_content()


def test_a_mail_of_a_schedule_names_it(life, post):  # noqa: F811
    run = a_run(schedule="gone", due=None)
    told(life, run)
    [(message, _)] = post.taken
    assert message["Subject"].startswith("A deleted schedule: your authentication events report")


def test_only_one_of_two_services_sends(office, store, post):  # noqa: F811
    one, two_ = (Life(office, store, alone=False) for _ in range(2))
    try:
        run = a_run()
        asked(run)(one.works)
        for _ in range(60):
            one.works.builder.turn()
        eventually(lambda: two_.works.runs.get(run.run).state == "ready")
        for _ in range(3):
            two_.works.mailroom.turn()
            one.works.mailroom.turn()
        assert len(post.taken) == 1
    finally:
        one.end()
        two_.end()


def test_deaths_before_the_text_left_are_no_repeats(office, store, post):  # noqa: F811
    run = a_run()
    plan = [(Step.MAIL_CLAIMED, 0)] * 4
    assert live_through(office, store, Kills(plan), begin=asked(run), until=over([run.run])) == 4
    assert len(post.taken) == 1


def test_the_record_of_a_mail_follows_its_rules():
    from exporters.reports.mails import allowed

    before = Mail("r", HANDING, 1, attempt=2, holder="a")
    assert allowed(before, Mail("r", DONE, 1, attempt=2, holder="a"))
    assert not allowed(before, Mail("r", DONE, 1, attempt=2, holder="b"))
    assert not allowed(before, Mail("r", DONE, 1, attempt=1, holder="a"))
    assert allowed(before, Mail("r", CLAIMED, 1, attempt=3, holder="b"))
    assert not allowed(Mail("r", DONE, 1, attempt=2, holder="a"), Mail("r", CLAIMED, 1, attempt=3, holder="b"))
