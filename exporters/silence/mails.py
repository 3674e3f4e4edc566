"""Silence by mail, to the addresses of a setting: one mail for all who fell silent at once.  That somebody speaks again is no mail."""

from __future__ import annotations

import hashlib

from exporters.mail.letter import Letter
from exporters.mail.mailer import Mailer, recipients
from exporters.silence.notices import Message, Notice, Way
from pipeline import logs
from pipeline.errors import ConfigError, Problem, Refused, Unavailable
from pipeline.settings import Settings

log = logs.logger("silence")

# Whoever has not been told by then has heard it otherwise.
GIVE_UP_SECONDS = 24 * 3600.0


def mails(settings: Settings) -> Way | None:
    """None if nobody is to be mailed."""
    told = recipients(settings.silence_recipients)
    if not told:
        return None
    link = f"{settings.public_url or settings.reports_url}/overview"

    def write(notices: list[Notice]) -> list[Message]:
        silent = [notice for notice in notices if notice.silent]
        if not silent:
            return []
        others = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        context = {
            "source": f"{silent[0].title}{others}",
            "lines": [line for notice in silent for line in notice.lines()],
            "link": link,
        }
        letter, about = Letter(told), key(silent)

        def send() -> None:
            try:
                letter.send(Mailer(settings), "silence", context, about)
            except Problem as problem:
                if letter.age_seconds > GIVE_UP_SECONDS:
                    log.warning("a mail about silence is given up after a day", reason=str(problem))
                elif isinstance(problem, (ConfigError, Refused)):  # an operator mends it; the mail waits
                    raise Unavailable(str(problem)) from None
                else:
                    raise

        return [Message(silent, send)]

    return write


def key(notices: list[Notice]) -> str:
    """The same for every mail about the same silences."""
    if len(notices) == 1:
        return notices[0].key
    text = " ".join(sorted(notice.key for notice in notices))
    return f"silence-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
