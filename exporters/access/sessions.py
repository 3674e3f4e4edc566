"""Signed-in people: a signed cookie says who, the journal says which ones were ended.

A form carries a word that only its session can make, so that another site cannot send it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from exporters.access.people import Person, Role


class Session(msgspec.Struct, frozen=True):
    """What the cookie says.  `until` in UTC ms."""

    id: str
    name: str
    role: Role
    until: int


# Learned before requests in several threads use it first: see pipeline/model/dialects.py.
msgspec.json.Decoder(Session)


class Sessions:
    """`ended` is filled by the journal: {session id: when it would have ended anyway}."""

    def __init__(self, key: str, *, hours: float) -> None:
        self._key = key.encode()
        self._signer = URLSafeSerializer(key, salt="session")
        self._length_ms = round(hours * 3_600_000)
        self.ended: dict[str, int] = {}
        # Cookies are shared by all ports of a host: two installations on one machine must not sign each other out.
        self.cookie = f"activity_{hashlib.sha256(self._key).hexdigest()[:8]}"

    @property
    def seconds(self) -> int:
        return self._length_ms // 1000

    def begin(self, name: str, role: Role, now_ms: int) -> str:
        """The cookie of a new session."""
        session = Session(secrets.token_urlsafe(16), name, role, now_ms + self._length_ms)
        return str(self._signer.dumps(msgspec.to_builtins(session)))

    def read(self, cookie: str, now_ms: int) -> Session | None:
        """The session of a cookie; None if it is forged, over or was ended."""
        try:
            session = msgspec.convert(self._signer.loads(cookie), Session)
        except (BadSignature, msgspec.ValidationError):
            return None
        return session if session.until > now_ms and session.id not in self.ended else None

    def word(self, person: Person) -> str:
        """What a form of this session must carry."""
        return hmac.new(self._key, b"form" + person.session.encode(), hashlib.sha256).hexdigest()

    def knows(self, person: Person, word: str) -> bool:
        return hmac.compare_digest(self.word(person).encode(), word.encode("utf-8", "replace"))
