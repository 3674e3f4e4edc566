"""Topic names: one table for everybody.  Creating and checking them is `pipeline/broker.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAY_MS = 24 * 3600 * 1000
MIB = 1 << 20
# A record may be 1 MiB as a producer sends it, so that whatever a gateway can send reaches the topic and, if need be, its reject.
MAX_RECORD_BYTES = MIB

Count = Literal["partitions", "one"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must be: `name` with {prefix} and {app} open, its key in words, its broker settings, its partition count."""

    role: str
    pattern: str
    key: str
    help: str
    config: dict[str, str]
    count: Count = "partitions"

    def name(self, *, prefix: str, app: str) -> str:
        return self.pattern.format(prefix=prefix, app=app)


def _delete(days: int, **more: str) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(days * DAY_MS),
        "message.timestamp.type": "LogAppendTime",
        **more,
    }


_COMPACT = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
_CHANGELOG = _COMPACT | {"min.compaction.lag.ms": str(DAY_MS), "max.message.bytes": str(2 * MIB)}
# Rejects carry the refused bytes and a few headers; the source's own limit plus room for those.
REJECT_BYTES = 2 * MIB
_ROOM = {"max.message.bytes": str(REJECT_BYTES)}

CONNECTIONS = Topic(
    "connections", "{prefix}.connections", "user id", "Connection events from gateways", _delete(14) | _ROOM
)
AUTHENTICATIONS = Topic(
    "authentications",
    "{prefix}.authentications",
    "user id",
    "Sign-in events; the report store is rebuilt from it",
    _delete(400) | _ROOM,
)
DIRECTORY = Topic(
    "directory",
    "{prefix}.directory",
    "user id",
    "Accounts: {id, email, name, state, created}; a tombstone removes one",
    _COMPACT,
)
CONNECTIONS_CHANGELOG = Topic(
    "connections_changelog",
    "{app}-connections-changelog",
    "fragment",
    "Rollups of connections, absolute states",
    _CHANGELOG,
)
AUTHENTICATIONS_CHANGELOG = Topic(
    "authentications_changelog",
    "{app}-authentications-changelog",
    "fragment",
    "Rollups of sign-ins, absolute states",
    _CHANGELOG,
)
REJECTS = Topic(
    "rejects",
    "{prefix}.rejects",
    "source key",
    "Records that cannot be events, bytes unchanged, with reason and origin in headers",
    _delete(30) | _ROOM,
)
REPORTS = Topic(
    "reports",
    "{prefix}.reports",
    "run id, schedule/id, mail/id",
    "What was asked for and what became of it: runs, schedules, mails",
    _COMPACT
    | {"min.compaction.lag.ms": str(DAY_MS)},  # a refused record is healed before it may be the one that is kept
    count="one",
)
AUDIT = Topic(
    "audit", "{prefix}.audit", "none", "Who asked for, was refused and downloaded what", _delete(400), count="one"
)
ACCESS = Topic(
    "access",
    "{prefix}.access",
    "token or session id",
    "API tokens as hashes, and sessions that were ended",
    _COMPACT,
    count="one",
)
CUTS = Topic(
    "cuts",
    "{prefix}.sync.cuts",
    "destination/topic/partition/first",
    "Where one delivery ends and the next begins",
    _delete(400),
)
SYNC = Topic(
    "sync",
    "{prefix}.sync",
    "destination/, paused/, episode/ or state/ and a name",
    "Destinations made by the API, which are paused, what is wrong with which, and how far each process is; no secrets",
    _COMPACT,
    count="one",
)
INGESTED = Topic("ingested", "{prefix}.ingested", "file fingerprint", "Files already taken in", _COMPACT, count="one")

TOPICS = (
    CONNECTIONS,
    AUTHENTICATIONS,
    DIRECTORY,
    CONNECTIONS_CHANGELOG,
    AUTHENTICATIONS_CHANGELOG,
    REJECTS,
    REPORTS,
    AUDIT,
    ACCESS,
    CUTS,
    SYNC,
    INGESTED,
)

# Header names of records we write.
REASON_HEADER = "activity-reason"  # a reject's reason, one of the fixed list
PATH_HEADER = "activity-path"  # the JSON path at fault, "$.connection.rx"
CUT_HEADER = "activity-cut"  # bytes of a refused value that was too long for this topic and lies here without its end
ORIGIN_HEADER = "activity-origin"  # topic/partition/offset the bytes first lay at; on rejects and on their replays
