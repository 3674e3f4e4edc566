"""One mail to several people, on its way until the server has said its last word on each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporters.mail.mailer import Mailer
from pipeline import clock, logs
from pipeline.errors import Unavailable

log = logs.logger("mail")


class Letter:
    """Whoever has it, or was refused for good, is not asked about again."""

    def __init__(self, recipients: Sequence[str]) -> None:
        self._left = list(recipients)
        self._since = clock.monotonic()

    @property
    def age_seconds(self) -> float:
        return clock.monotonic() - self._since

    def send(self, mailer: Mailer, template: str, context: dict[str, Any], message_id: str) -> None:
        """One attempt.  Raises Unavailable while anybody is to be asked again, Refused."""
        said = mailer.send(template, self._left, context, message_id)
        if refused := sum(reply.final and not reply.taken for reply in said.values()):
            log.warning("a mail did not reach everybody", about=template, refused=refused)
        self._left = [r for r in self._left if not said[r].final]
        if self._left:
            raise Unavailable("the mail server does not take the mail for every recipient now")
