"""A service's half that makes reports, driven turn by turn in this process: real Kafka, Redis, store, mail server; deaths at named steps.

A life shares nothing with the next one but what lies outside the process.  A death is an exception that nothing may catch: it unwinds as a killed
process ends, with nothing tidied up.
"""

from __future__ import annotations

import random
from contextlib import suppress

from kafka.errors import KafkaError

from exporters.mail.smtp import SmtpSender
from exporters.reports import steps
from exporters.reports.steps import Step
from exporters.reports.works import Works
from exporters.store.projector import Projector
from exporters.store.store import Store
from pipeline.metrics import Metrics
from tests.live.system import eventually


class Death(BaseException):
    """kill -9."""


class Kills:
    """Stands at the steps: ends the life at the n-th passing of one, as planned."""

    def __init__(self, plan=()) -> None:
        self.plan = list(plan)  # [(step, how many times it may be passed before)]
        self.passed = []

    def stand(self, step) -> None:
        self.passed.append(step)
        for number, (where, left) in enumerate(self.plan):
            if where == step:
                if left:
                    self.plan[number] = (where, left - 1)
                else:
                    del self.plan[number]
                    raise Death(step)


class Life:
    def __init__(self, settings, store: Store, *, alone=True, sender=None, ends=dict) -> None:
        metrics = Metrics()
        self.works = Works(
            settings,
            store,
            Projector(settings, store, metrics),
            metrics,
            ends,
            alone=alone,
            sender=sender or SmtpSender(settings),
            spawn=lambda work: work(),
        )
        self.works.runs.journal.start()
        eventually(lambda: self.works.runs.journal.ready)

    def turn(self) -> None:
        self.works.scheduler.turn()
        self.works.builder.turn()
        self.works.mailroom.turn()

    def end(self) -> None:
        journal = self.works.runs.journal
        journal.stop()
        if journal._producer is not None:
            with suppress(KafkaError):
                journal._producer.close(timeout=0)  # a dead process's connections are closed, too


def live_through(settings, store, kills: Kills, *, until, begin=lambda works: None, turns=400, **options) -> int:
    """Lives, one after the other, until `until(works)`; how many deaths there were."""
    deaths = 0
    steps.observer = kills.stand
    try:
        while True:
            life = Life(settings, store, **options)
            try:
                begin(life.works)
                for _ in range(turns):
                    if until(life.works):
                        return deaths
                    life.turn()
                raise AssertionError(f"not after {turns} turns: {life.works.runs.all()}")
            except Death:
                deaths += 1
            finally:
                life.end()
    finally:
        steps.observer = steps._nobody


def a_plan(rng: random.Random, most: int) -> list[tuple[Step, int]]:
    """Some deaths at random steps; at most one where the mail's fate is open, for two of those are one repeat too many."""
    certain = [s for s in Step if s not in (Step.MAIL_HANDING, Step.MAIL_TAKEN, Step.EXPIRING, Step.ASKED)]
    plan = [(rng.choice(certain), rng.choice((0, 0, 1))) for _ in range(rng.randint(1, most))]
    if rng.random() < 0.4:
        plan.append((rng.choice((Step.MAIL_HANDING, Step.MAIL_TAKEN)), 0))
    rng.shuffle(plan)
    return plan
