"""Silence by mail, to the addresses of a setting.  That somebody speaks again is no mail."""

from __future__ import annotations

from exporters.mail.mailer import Mailer, recipients
from exporters.silence.notices import Notice, Way
from pipeline.errors import ConfigError, Refused, Unavailable
from pipeline.settings import Settings


def mails(settings: Settings) -> Way | None:
    """None if nobody is to be mailed."""
    told = recipients(settings.silence_recipients)
    if not told:
        return None
    link = f"{settings.public_url or settings.reports_url}/overview"

    def send(notice: Notice) -> None:
        if not notice.silent:
            return
        context = {"source": notice.title, "lines": notice.lines(), "link": link}
        try:
            said = Mailer(settings).send("silence", told, context, notice.key)
        except (ConfigError, Refused) as problem:  # an operator mends it; the mail waits
            raise Unavailable(str(problem)) from None
        if not all(reply.final for reply in said.values()):
            raise Unavailable("the mail server does not take mail for every recipient now")

    return send
