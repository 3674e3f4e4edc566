"""Tokens for programs: shown once, kept as a hash on the access topic, over by themselves or when revoked.

Last use is kept under a key of its own: a note of it, written late, must not bring back what was revoked meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
import queue
import secrets
import threading
from collections.abc import Callable
from typing import Literal

import msgspec

from exporters.access.people import Person, Role
from pipeline import logs
from pipeline.errors import Unavailable

log = logs.logger("tokens")

TOKEN, USED = "token/", "used/"
# So that a secret that was left somewhere is recognised as one, by people and by scanners.
MARK = "ua_"
DAY_MS = 24 * 3600 * 1000
LONGEST_DAYS = 366
KEPT_MS = 90 * DAY_MS  # a token that is over stays on the list for so long
COARSE_MS = 3600 * 1000  # how exactly last use is known: one record per token and hour at most

State = Literal["active", "expired", "revoked"]


class Token(msgspec.Struct, frozen=True):
    """What the topic knows of a token; instants UTC ms.  `id` begins the secret and is no secret itself."""

    id: str
    name: str
    role: Role
    made_at: int
    made_by: str
    expires_at: int
    sha256: str
    revoked_at: int | None = None

    def state(self, now_ms: int) -> State:
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now_ms < self.expires_at else "expired"

    @property
    def person(self) -> Person:
        """Whom its requests come from: tokens of one name are one, so that a new one sees what its predecessor asked for."""
        return Person(f"token:{self.name}", self.role)


_decoder = msgspec.json.Decoder(Token)


def make(name: str, role: Role, *, days: int, by: str, now_ms: int) -> tuple[Token, str]:
    """A new token and its secret, which nobody can find out later."""
    id_ = MARK + secrets.token_hex(4)
    secret = f"{id_}_{secrets.token_urlsafe(32)}"
    return Token(id_, name, role, now_ms, by, now_ms + days * DAY_MS, _hash(secret)), secret


class Tokens:
    """The tokens, as the journal has them."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self.used: dict[str, int] = {}

    def apply(self, key: str, value: bytes | None) -> None:
        """One record of the topic.  What was revoked stays so, whatever comes after."""
        name = key.removeprefix(TOKEN)
        if value is None:
            self._tokens.pop(name, None)
            return
        try:
            token = _decoder.decode(value)
        except msgspec.MsgspecError:
            return
        before = self._tokens.get(name)
        if token.id == name and not (before and before.revoked_at is not None and token.revoked_at is None):
            self._tokens[name] = token

    def apply_use(self, key: str, value: bytes | None) -> None:
        name = key.removeprefix(USED)
        if value is None:
            self.used.pop(name, None)
        elif value.isdigit():
            self.used[name] = max(int(value), self.used.get(name, 0))

    def bearer(self, secret: str, now_ms: int) -> Token | None:
        """The token of this secret, if it holds now."""
        token = self._tokens.get(secret[: len(MARK) + 8])
        if token is None or not hmac.compare_digest(token.sha256, _hash(secret)):
            return None
        return token if token.state(now_ms) == "active" else None

    def get(self, id_: str) -> Token | None:
        return self._tokens.get(id_)

    def all(self) -> list[Token]:
        """Newest first."""
        return sorted(self._tokens.copy().values(), key=lambda t: (t.made_at, t.id), reverse=True)

    def stale(self, now_ms: int) -> list[Token]:
        """Those that have been over for long: nothing needs to remember them."""
        return [t for t in self.all() if min(t.expires_at, t.revoked_at or t.expires_at) + KEPT_MS < now_ms]


class Uses(threading.Thread):
    """Writes down, coarsely and beside the requests, when a token was last used; a note that is lost is made again."""

    def __init__(self, tokens: Tokens, write: Callable[[str, bytes | None], None]) -> None:
        super().__init__(name="token-uses", daemon=True)
        self._tokens = tokens
        self._write = write
        self._noted: dict[str, int] = {}
        self._waiting: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()

    def note(self, id_: str, now_ms: int) -> None:
        last = max(self._tokens.used.get(id_, 0), self._noted.get(id_, 0))
        if now_ms - last >= COARSE_MS:
            self._noted[id_] = now_ms
            self._waiting.put((id_, now_ms))

    def stop(self) -> None:
        self._waiting.put(None)

    def run(self) -> None:
        while (used := self._waiting.get()) is not None:
            id_, at = used
            try:
                self._write(f"{USED}{id_}", str(at).encode())
            except Unavailable:
                self._noted.pop(id_, None)
                log.warning("the last use of a token is not written down")
            except Exception as error:
                self._noted.pop(id_, None)
                log.exception("the last use of a token is not written down", error=type(error).__name__)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
