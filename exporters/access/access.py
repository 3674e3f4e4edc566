"""Everything that decides who may in, in one hand."""

from __future__ import annotations

import hmac
from functools import partial

import msgspec

from exporters.access import keys, tokens
from exporters.access.audit import Audit, Entry, Past
from exporters.access.links import Links
from exporters.access.people import LOCAL, Person, Role
from exporters.access.provider import Provider
from exporters.access.sessions import Session, Sessions
from exporters.access.tokens import TOKEN, USED, Token, Tokens, Uses
from exporters.journal import Apply, Journal
from pipeline import clock, topics
from pipeline.errors import RequestError
from pipeline.metrics import Metrics
from pipeline.settings import Settings

SESSION = "session/"


class Access:
    """Raises ConfigError."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.sessions = Sessions(keys.signing_key(settings), hours=settings.session_hours)
        self.links = Links()
        self.tokens = Tokens()
        self.provider = Provider.configured(settings)
        self.audit = Audit(settings, metrics)
        self.past = Past(settings)
        self._local_token = keys.local_token(settings)
        tables: dict[str, Apply] = {
            SESSION: partial(_ended, self.sessions.ended),
            TOKEN: self.tokens.apply,
            USED: self.tokens.apply_use,
        }
        self.journal = Journal(settings, topics.ACCESS, tables)
        self.uses = Uses(self.tokens, self.journal.write)

    def local(self, token: str) -> Person | None:
        """Whoever can read the token of this machine."""
        return LOCAL if hmac.compare_digest(token.encode("utf-8", "replace"), self._local_token.encode()) else None

    def bearer(self, secret: str) -> Person | None:
        """Whoever shows this token."""
        token = self.tokens.bearer(secret, clock.now_ms())
        if token is None:
            return None
        self.uses.note(token.id, clock.now_ms())
        return token.person

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

    def give(self, name: str, role: Role, *, days: int, by: str) -> tuple[Token, str]:
        """A new token and its secret.  Raises Unavailable."""
        now = clock.now_ms()
        token, secret = tokens.make(name, role, days=days, by=by, now_ms=now)
        self.journal.write(f"{TOKEN}{token.id}", msgspec.json.encode(token))
        for old in self.tokens.stale(now):
            self.journal.write(f"{TOKEN}{old.id}", None)
            self.journal.write(f"{USED}{old.id}", None)
        return token, secret

    def revoke(self, id_: str) -> Token:
        """The token, which no service takes any more.  Raises RequestError, Unavailable."""
        token = self.tokens.get(id_)
        if token is None:
            raise RequestError("There is no such token.", status=404, code="not_found")
        if token.revoked_at is None:
            token = msgspec.structs.replace(token, revoked_at=clock.now_ms())
            self.journal.write(f"{TOKEN}{token.id}", msgspec.json.encode(token))
        return token

    def note(
        self, who: str, action: str, target: str, outcome: str, status: int, *, address: str = "", detail: str = ""
    ) -> None:
        self.audit.write(Entry(clock.now_ms(), who, action, target[:500], outcome, status, address, detail[:500]))


def _ended(ended: dict[str, int], key: str, value: bytes | None) -> None:
    name = key.removeprefix(SESSION)
    if value is None:
        ended.pop(name, None)
    elif value.isdigit():
        ended[name] = int(value)
