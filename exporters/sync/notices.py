"""Telling people that a delivery is in trouble, and that it is over: once each, however often and by how many processes it is retried.

Trouble becomes an episode after a minute, or at once if an operator is needed; the topic decides which process began it, and that one tells.  What it could
not tell before it ended is told by whoever looks next: then perhaps a second time, under the same id.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from exporters.mail.letter import Letter
from exporters.mail.mailer import Mailer
from exporters.sync.desk import ERRORS, REQUIRES_ATTENTION, RESOLVED, Desk, Episode
from exporters.sync.destinations import Destination, Webhook
from pipeline import clock, logs
from pipeline.errors import ConfigError, Problem, Refused, Unavailable
from pipeline.metrics import Metrics
from pipeline.model.times import iso
from pipeline.settings import Settings

log = logs.logger("notices")

VERSION = 1
# Longer than what a store answers when it is asked to slow down.
PATIENCE_SECONDS = 60.0
# So long it is left to whoever began it, who may not have said yet that it is there.
OVERDUE_MS = 60_000
POST_SECONDS = 10.0
RETRY_SECONDS = (1.0, 300.0)
GIVE_UP_SECONDS = 24 * 3600.0
SIGNATURE = "X-Activity-Signature"

WORDS = {
    ERRORS: "Delivery fails and is being retried; nothing is lost",
    REQUIRES_ATTENTION: "Delivery needs you: it will not go on by itself; nothing is lost while Kafka keeps the events",
    RESOLVED: "Delivery works again; what was held back is delivered",
}


def payload(
    tenant: str, episode: Episode, type_: str, name: str, destination: Destination, manage: str
) -> dict[str, Any]:
    """The vendor's fields, and which destination it is."""
    return {
        "type": type_,
        "version": VERSION,
        "timestamp": iso(episode.until or episode.since),
        "tenant": tenant,
        "sync_type": ", ".join(destination.kinds),
        "message": f"{WORDS[type_]}. {episode.message}".strip(),
        "manage_sync": manage,
        "destination": name,
        "place": destination.target.place,
        "episode": episode.id,
    }


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """What goes into the header: the time it was signed, and HMAC-SHA256 over `timestamp.body`."""
    digest = hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def post(webhook: Webhook, body: bytes) -> None:
    """One attempt.  Raises Unavailable, Refused."""
    headers = {"Content-Type": "application/json", "User-Agent": "user-activity"}
    if webhook.secret_file:
        try:
            secret = Path(webhook.secret_file).read_bytes().strip()
        except OSError as error:
            raise Refused(f"{webhook.secret_file} cannot be read ({error.strerror}); make it readable") from None
        headers[SIGNATURE] = signature(secret, clock.now_ms() // 1000, body)
    try:
        answer = httpx.post(webhook.url, content=body, headers=headers, timeout=POST_SECONDS)
    except httpx.HTTPError as error:
        raise Unavailable(f"the webhook does not answer ({type(error).__name__})") from None
    except (httpx.InvalidURL, UnicodeError):  # a host with an empty or endless part is found when it is asked for
        raise Refused("the webhook's url cannot be used; correct it") from None
    if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
        raise Unavailable(f"the webhook answers {answer.status_code}")
    if answer.status_code >= 300:
        raise Refused(f"the webhook refuses with {answer.status_code}; correct its url or secret")


@dataclass
class _Due:
    """One way of telling one notice, not done yet."""

    what: str
    send: Callable[[], None]
    since: float
    at: float
    tries: int = 0


class Notices:
    """One destination's, in one process.  `look` often; it never waits for the far side of a notice longer than one attempt."""

    def __init__(
        self,
        settings: Settings,
        desk: Desk,
        name: str,
        destination: Destination,
        metrics: Metrics,
        mailer: Mailer | None,
        member: str,
    ) -> None:
        self._settings = settings
        self._desk = desk
        self._name = name
        self._destination = destination
        self._metrics = metrics
        self._mailer = mailer
        self._member = member
        self._telling: Episode | None = None
        self._due: list[_Due] = []

    def look(self, problem: Problem | None, failing_seconds: float, *, worked_at: int) -> None:
        """`problem` is the worst of this process now, `worked_at` when the target last took something of it (UTC ms).  Raises Unavailable."""
        episode = self._desk.episode(self._name)
        is_open = episode is not None and not episode.until
        if problem is not None:
            type_ = REQUIRES_ATTENTION if isinstance(problem, Refused) else ERRORS
            worse = is_open and episode is not None and episode.type == ERRORS and type_ == REQUIRES_ATTENTION
            if (not is_open or worse) and (failing_seconds >= PATIENCE_SECONDS or type_ == REQUIRES_ATTENTION):
                self._begin(Episode(uuid.uuid4().hex, type_, str(problem), clock.now_ms()))
        elif is_open and episode is not None and worked_at > episode.since and not self._failing_elsewhere():
            self._begin(msgspec.structs.replace(episode, until=clock.now_ms(), told=False))
        self._send()
        if episode is None or episode.told or self._due:
            return
        if episode == self._telling:
            self._desk.write_episode(self._name, msgspec.structs.replace(episode, told=True))
        elif clock.now_ms() - (episode.until or episode.since) > OVERDUE_MS and not self._told_by_another(episode):
            self._begin(episode)

    def _failing_elsewhere(self) -> bool:
        return any(lane.problem for state in self._desk.states(self._name) for lane in state.lanes)

    def _told_by_another(self, episode: Episode) -> bool:
        """Whether it is on its way; what this process had begun to tell before the destination was changed is not."""
        return any(state.member == episode.by != self._member for state in self._desk.states(self._name))

    def _begin(self, episode: Episode) -> None:
        mine = msgspec.structs.replace(episode, by=self._member)
        if self._desk.write_episode(self._name, mine):
            self._telling = mine
            self._tell(mine)

    def _tell(self, episode: Episode) -> None:
        type_ = RESOLVED if episode.until else episode.type
        log.warning("notice", destination=self._name, type=type_)
        manage = f"{self._settings.people_url}/settings/reports" if self._settings.people_url else ""
        told = payload(self._settings.app_id, episode, type_, self._name, self._destination, manage)
        now, webhook, mail = clock.monotonic(), self._destination.webhook, self._destination.mail
        if webhook is not None:
            body = msgspec.json.encode(told)
            self._due.append(_Due("webhook", lambda: post(webhook, body), now, now))
        mailer = self._mailer
        if mail and mailer is not None:
            context = {
                "notice": type_,
                "destination": self._name,
                "lines": [
                    told["message"],
                    f"Delivers {told['sync_type']} to {told['place']}",
                    f"Since {iso(episode.since)}",
                ],
                "link": manage,
            }
            about = f"{episode.id}-{type_.lower()}"
            letter = Letter(mail)
            self._due.append(_Due("mail", lambda: letter.send(mailer, "sync", context, about), now, now))
        self._metrics["activity_sync_notices_total"].labels(type_, "begun").inc()

    def _send(self) -> None:
        now = clock.monotonic()
        for due in list(self._due):
            first = next(d for d in self._due if d.what == due.what)  # nobody hears of an end before its beginning
            if due is not first or due.at > now:
                continue
            try:
                due.send()
            except Unavailable as problem:
                due.tries += 1
                least, most = RETRY_SECONDS
                due.at = now + min(most, least * 2**due.tries)
                if now - due.since < GIVE_UP_SECONDS:
                    continue
                self._ended(due, "given up", str(problem))
            except (Refused, ConfigError) as problem:
                self._ended(due, "refused", str(problem))
            except Exception as error:  # what one way makes of us must not end the others
                log.exception("a notice failed by a bug", destination=self._name, by=due.what)
                self._ended(
                    due, "failed", f"{type(error).__name__}, which is a bug; report it with the trace in the log"
                )
            else:
                self._ended(due, "sent", "")

    def _ended(self, due: _Due, outcome: str, problem: str) -> None:
        self._due.remove(due)
        self._metrics["activity_sync_notices_total"].labels(due.what, outcome).inc()
        if problem:
            log.warning("a notice could not be told", destination=self._name, by=due.what, problem=problem)
