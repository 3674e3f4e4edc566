"""Tells by mail what became of runs that have recipients: once each, and what a server refuses for now again later.

claim ──► a record that the text is about to leave ──► the server's word ──► a record of that word
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

from exporters.mail.mailer import Mailer
from exporters.mail.sender import Reply
from exporters.reports.mails import CLAIMED, DONE, HANDING, WAITING, Mail, Mails
from exporters.reports.runs import FAILED, READY, Run, Runs
from exporters.reports.steps import Step, reach
from exporters.reports.telling import notice
from pipeline import clock, logs
from pipeline.errors import Problem
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("mail")

BACK_OFF_SECONDS = (2.0, 10.0, 60.0, 300.0, 900.0, 3600.0)
# After a server did not answer at all, nothing else is tried there for so long.
AWAY_SECONDS = 3.0
GIVE_UP_MS = 24 * 3600 * 1000
# A sender that is silent for this long is gone; one transaction is over long before.
STALE_MS = 180_000
# A text that left twice without an answer is not sent a third time: one repeat is what a reader must bear.
MOST_HANDED = 2


class _TakenOver(Exception):  # noqa: N818 - what happened, not what went wrong
    """Another service sends this mail now."""


class Mailroom(threading.Thread):
    """`turn` is one look at everything.  `schedule_name` knows the schedules."""

    def __init__(
        self, settings: Settings, runs: Runs, mails: Mails, mailer: Mailer | None, metrics: Metrics, *,
        alone: bool, schedule_name: Callable[[str], str] = lambda _id: "",
    ) -> None:  # fmt: skip
        super().__init__(name="mailroom", daemon=True)
        self._settings = settings
        self._runs = runs
        self._mails = mails
        self.mailer = mailer
        self._metrics = metrics
        self._alone = alone
        self._schedule_name = schedule_name
        self._me = uuid.uuid4().hex
        self._unwritten: dict[str, tuple[Mail, dict[str, Reply]]] = {}
        self._away_until = 0.0
        self._stopping = threading.Event()
        self._kick = threading.Event()
        self.degraded: str | None = None

    def stop(self) -> None:
        self._stopping.set()
        self._kick.set()

    def run(self) -> None:
        unlisten = self._runs.journal.listen(self._kick.set)
        while not self._stopping.is_set():
            try:
                self.turn()
            except Problem as problem:
                log.warning(str(problem))
            except Exception as error:
                log.exception("the mailroom failed; trying again", error=type(error).__name__)
            self._kick.wait(1.0)
            self._kick.clear()
        unlisten()

    def turn(self) -> None:
        """Raises Unavailable if the journal cannot be written."""
        if self.mailer is None or not self._runs.journal.ready:
            return
        for unwritten in list(self._unwritten.values()):
            self._note(*unwritten)
        if clock.monotonic() < self._away_until:
            return
        now = clock.now_ms()
        for run in reversed(self._runs.all()):
            if run.recipients and run.state in (READY, FAILED) and not self._stopping.is_set():
                mail = self._mails.get(run.run)
                if self._due(run, mail, now):
                    self._send(run, mail)
                    if self.degraded:
                        return  # the others would meet the same

    def _due(self, run: Run, mail: Mail | None, now: int) -> bool:
        if mail is None:
            return run.changed_at > now - GIVE_UP_MS
        if mail.state == DONE or mail.run in self._unwritten:
            return False
        if mail.state == WAITING:
            return mail.retry_at <= now
        return self._alone or mail.holder == self._me or mail.changed_at < now - STALE_MS

    def _send(self, run: Run, before: Mail | None) -> None:
        assert self.mailer is not None
        mail = self._claim(run, before)
        if mail is None:
            return
        reach(Step.MAIL_CLAIMED)
        if mail.handed >= MOST_HANDED:
            self._end(mail, "given up: the text was handed over twice, and both times no answer came back", "unknown")
            return
        left = [r for r in run.recipients if r not in mail.said]
        handing = [mail]

        def leave() -> None:
            now = self._mails.change(mail, HANDING)
            if now is None or (now.state, now.holder, now.attempt) != (HANDING, self._me, mail.attempt):
                raise _TakenOver
            handing[0] = now
            reach(Step.MAIL_HANDING)

        try:
            template, context = notice(run, self._settings, schedule=self._schedule_name(run.schedule))
            said = self.mailer.send(template, left, context, f"run-{run.run}", handing=leave)
        except _TakenOver:
            return
        except Problem as problem:
            left_us = handing[0].state == HANDING  # the connection broke before the answer: perhaps it is there
            self.degraded = f"Mail waits: {problem}."
            self._away_until = clock.monotonic() + AWAY_SECONDS
            self._later(handing[0], str(problem), handed=mail.handed + left_us)
            return
        except Exception as error:  # this mail's own fault: the others do not wait for it
            log.exception("a mail could not be made; trying again", error=type(error).__name__)
            left_us = handing[0].state == HANDING
            why = f"it could not be made ({type(error).__name__}); see the service's log"
            self._later(handing[0], why, handed=mail.handed + left_us)
            return
        self.degraded = None
        if any(reply.taken for reply in said.values()):
            reach(Step.MAIL_TAKEN)
        self._note(handing[0], said)

    def _claim(self, run: Run, before: Mail | None) -> Mail | None:
        number = before.attempt + 1 if before else 1
        # The one before us left between handing over and the answer.
        handed = before.handed + (before.state == HANDING) if before else 0
        start = before or Mail(run.run, WAITING, 0)
        now = self._mails.change(start, CLAIMED, attempt=number, holder=self._me, handed=handed, retry_at=0)
        return now if now and (now.state, now.holder, now.attempt) == (CLAIMED, self._me, number) else None

    def _note(self, mail: Mail, said: dict[str, Reply]) -> None:
        """The server's word, into the journal: as often as it takes, for it is known only here."""
        self._unwritten[mail.run] = (mail, said)
        final = mail.said | {r: reply.code for r, reply in said.items() if reply.final}
        again = [reply for reply in said.values() if not reply.final]
        if again:
            self._later(mail, f"the server said {again[0].code}", said=final)
        else:
            refused = sum(not 200 <= code < 300 for code in final.values())
            outcome = "sent" if not refused else "refused" if refused == len(final) else "partly"
            why = f"{refused} of {len(final)} recipients were refused" if refused else ""
            self._end(mail, why, outcome, said=final)
        self._unwritten.pop(mail.run, None)
        reach(Step.MAIL_SENT)

    def _later(self, mail: Mail, why: str, **fields: object) -> None:
        now = clock.now_ms()
        run = self._runs.get(mail.run)
        if run is None or run.changed_at < now - GIVE_UP_MS:
            self._end(mail, f"given up after a day: {why}", "given up", **fields)
            return
        pause = BACK_OFF_SECONDS[min(mail.tries, len(BACK_OFF_SECONDS) - 1)]
        retry_at = now + round(pause * 1000)
        self._mails.change(mail, WAITING, tries=mail.tries + 1, retry_at=retry_at, error=why, **fields)
        self._metrics["activity_mails_total"].labels("again").inc()

    def _end(self, mail: Mail, why: str, outcome: str, **fields: object) -> None:
        self._mails.change(mail, DONE, error=why, **fields)
        self._metrics["activity_mails_total"].labels(outcome).inc()
        if why:
            log.warning("a mail did not reach everybody", outcome=outcome)
