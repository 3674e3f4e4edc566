"""Everything that makes reports by and by, in one hand: the journal's tables, the queue, builder, scheduler and mailroom of one service."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from exporters.mail.mailer import Mailer
from exporters.mail.sender import Sender
from exporters.reports.builder import Builder, thread
from exporters.reports.estimates import Estimates
from exporters.reports.files import open_files
from exporters.reports.mailroom import Mailroom
from exporters.reports.mails import MAIL, Mails
from exporters.reports.making import Tools
from exporters.reports.plans import SCHEDULE, Plans
from exporters.reports.progress import Watch
from exporters.reports.queue import Queue
from exporters.reports.runs import Runs
from exporters.reports.scheduler import Ends, Scheduler
from exporters.store.projector import Projector
from exporters.store.store import Store
from pipeline.errors import Unavailable
from pipeline.metrics import Metrics
from pipeline.settings import Settings


class Works:
    """`alone`: no other service makes reports of this installation, so what an earlier life held is taken over at once."""

    def __init__(
        self, settings: Settings, store: Store, projector: Projector, metrics: Metrics, ends: Ends, *, alone: bool,
        sender: Sender | None = None, spawn: Callable[[Callable[[], None]], None] = thread,
    ) -> None:  # fmt: skip
        self.mails, self.plans = Mails(), Plans()
        self.runs = Runs(settings, {MAIL: self.mails.apply, SCHEDULE: self.plans.apply}, admits=self.plans.admits)
        self.mails.lie_on(self.runs.journal)
        self.plans.lie_on(self.runs.journal)
        self.files = open_files(settings)
        self.watch = Watch(settings)
        tools = Tools(
            store,
            projector,
            self.runs,
            self.mails,
            self.files,
            Estimates(store),
            self.watch,
            metrics,
            settings.retention_months,
        )
        queue = Queue(settings, uuid.uuid4().hex, alone=alone)
        self.builder = Builder(settings, tools, queue, alone=alone, spawn=spawn)
        self.scheduler = Scheduler(settings, self.plans, self.runs, ends)
        mailer = Mailer(settings, sender) if sender or settings.smtp_host else None
        self.mailroom = Mailroom(
            settings, self.runs, self.mails, mailer, metrics, alone=alone, schedule_name=self.plans.name
        )

    def settled(self) -> None:
        """Raises Unavailable until the journal was read: before that, what is not there may only be not there yet."""
        if not self.runs.journal.ready:
            raise Unavailable("the service is starting and has not read its reports yet; try again")

    def threads(self) -> list[Any]:
        """In the order in which they start."""
        return [self.runs.journal, self.watch, self.builder, self.scheduler, self.mailroom]

    def degraded(self) -> list[str]:
        """What does not work as it should while reports are made all the same."""
        return [line for line in (self.builder.degraded, self.mailroom.degraded) if line]
