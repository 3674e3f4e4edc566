"""That somebody has fallen silent, or speaks again, told once: by the log, by mail and to a webhook, until each has taken it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import httpx

from pipeline import clock, logs
from pipeline.errors import Problem, Unavailable
from pipeline.model.times import iso
from pipeline.settings import Settings

log = logs.logger("silence")

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 1.0, 300.0
ANSWER_SECONDS = 10.0
# Looks with notices.  What nobody takes for days is dropped, oldest first.
HELD = 1000


class Notice(NamedTuple):
    """`silent` false: it speaks again.  Instants UTC ms; `event_at` 0 if its events had no readable time."""

    kind: str
    id: str
    name: str
    heard_at: int
    event_at: int
    silent: bool

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name or self.id}" + (f" ({self.id})" if self.name and self.name != self.id else "")

    @property
    def key(self) -> str:
        """The same for every telling of one silence."""
        text = "\0".join((self.kind, self.id, str(self.heard_at), str(self.silent)))
        return f"silence-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    def lines(self) -> list[str]:
        last = f" Its newest event is of {iso(self.event_at)}." if self.event_at else ""
        if self.silent:
            return [f"Nothing has arrived from {self.title} since {iso(self.heard_at)}.{last}"]
        return [f"{self.title} speaks again: a record arrived at {iso(self.heard_at)}."]


class Message(NamedTuple):
    """What is sent at once, and about which notices.  `send` raises a Problem if it could not; it is asked again then."""

    notices: list[Notice]
    send: Callable[[], None]


# A way out: what it sends about the notices of one look.
Way = Callable[[list[Notice]], list[Message]]


@dataclass
class _Look:
    """The notices of one look that are not told yet, and the messages that are not taken yet, with their way."""

    notices: list[Notice]
    messages: list[tuple[str, Message]]
    done: Callable[[Notice], object]


class Notices(threading.Thread):
    """Tells notices in its own thread, so that nobody waits for a mail server."""

    def __init__(self, ways: dict[str, Way]) -> None:
        super().__init__(name="notices", daemon=True)
        self._ways = ways
        self._waiting: list[_Look] = []
        self._changed = threading.Condition()
        self._stopping = self._news = False

    def tell(self, notices: list[Notice], done: Callable[[Notice], object]) -> None:
        """`done` is called, in another thread, when every way has taken a notice."""
        for notice in notices:
            if notice.silent:
                log.warning("silent", what=notice.kind, name=notice.title, since=iso(notice.heard_at))
            else:
                log.info("speaks again", what=notice.kind, name=notice.title)
        if not notices:
            return
        messages = [(name, message) for name, way in self._ways.items() for message in way(notices)]
        with self._changed:
            self._waiting.append(_Look(notices, messages, done))
            del self._waiting[:-HELD]
            self._news = True
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        pause = FIRST_RETRY_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._news, pause if self._waiting else None)
                if self._stopping:
                    return
                self._news = False
                waiting, self._waiting = self._waiting, []
            left = [look for look in waiting if not self._told(look)]
            pause = min(2 * pause, LAST_RETRY_SECONDS) if left else FIRST_RETRY_SECONDS
            with self._changed:
                self._waiting = left + self._waiting

    def _told(self, look: _Look) -> bool:
        """Whether every way has taken everything of a look, and that is noted."""
        look.messages = [(way, message) for way, message in look.messages if not _did(message.send, way)]
        owed = {notice for _, message in look.messages for notice in message.notices}
        look.notices = [n for n in look.notices if n in owed or not _did(partial(look.done, n), "noting")]
        return not look.notices


def _did(what: Callable[[], object], way: str) -> bool:
    """Whether it need not be done again."""
    try:
        what()
    except Problem as problem:
        log.warning("a notice could not be told; trying again", way=way, reason=str(problem))
        return False
    except Exception as error:
        log.exception("a notice is lost", way=way, error=type(error).__name__)
    return True


def webhook(settings: Settings) -> Way:
    """POST of JSON for each notice; any 2xx is an answer."""

    def post(notice: Notice) -> None:
        body = {
            "type": "silence" if notice.silent else "speaks_again",
            "id": notice.key,
            "at": clock.now_ms(),
            "kind": notice.kind,
            "speaker": {"id": notice.id, "name": notice.name},
            "heard_at": notice.heard_at,
            "event_at": notice.event_at or None,
            "text": " ".join(notice.lines()),
        }
        try:
            answer = httpx.post(settings.silence_webhook, json=body, timeout=ANSWER_SECONDS, trust_env=False)
        except httpx.HTTPError as error:
            raise Unavailable(f"ACTIVITY_SILENCE_WEBHOOK does not answer ({type(error).__name__})") from None
        if not answer.is_success:
            raise Unavailable(f"ACTIVITY_SILENCE_WEBHOOK answers {answer.status_code}")

    return lambda notices: [Message([notice], partial(post, notice)) for notice in notices]
