"""Everything that decides who may in, in one hand."""

from __future__ import annotations

import hmac
from functools import partial

from exporters.access import keys
from exporters.access.audit import Audit, Entry
from exporters.access.links import Links
from exporters.access.people import LOCAL, Person
from exporters.access.sessions import Session, Sessions
from exporters.journal import Journal
from pipeline import clock, topics
from pipeline.metrics import Metrics
from pipeline.settings import Settings

SESSION = "session/"


class Access:
    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.sessions = Sessions(keys.signing_key(settings), hours=settings.session_hours)
        self.links = Links()
        self.audit = Audit(settings, metrics)
        self._local_token = keys.local_token(settings)
        self.journal = Journal(settings, topics.ACCESS, {SESSION: partial(_ended, self.sessions.ended)})

    def bearer(self, token: str) -> Person | None:
        """Whoever shows this token."""
        return LOCAL if hmac.compare_digest(token.encode("utf-8", "replace"), self._local_token.encode()) else None

    def visitor(self, cookie: str) -> Person | None:
        """Whoever this cookie signed in."""
        session = self.sessions.read(cookie, clock.now_ms())
        return None if session is None else Person(session.name, session.role, session.id)

    def end(self, cookie: str) -> None:
        """Sign out everywhere at once, also from a copy of the cookie.  Raises Unavailable."""
        session: Session | None = self.sessions.read(cookie, clock.now_ms())
        if session is not None:
            self.journal.write(f"{SESSION}{session.id}", str(session.until).encode())
        for name, until in list(self.sessions.ended.items()):
            if until < clock.now_ms():  # over by itself: nothing needs to remember it
                self.journal.write(f"{SESSION}{name}", None)

    def note(self, who: str, action: str, target: str, outcome: str, status: int, *, address: str = "") -> None:
        self.audit.write(Entry(clock.now_ms(), who, action, target[:500], outcome, status, address))


def _ended(ended: dict[str, int], key: str, value: bytes | None) -> None:
    name = key.removeprefix(SESSION)
    if value is None:
        ended.pop(name, None)
    elif value.isdigit():
        ended[name] = int(value)
