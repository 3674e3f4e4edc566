"""Where snapshots lie for others: keys of Redis, all JSON, written whole or not at all.

    activity:snapshot:version                        {"version":…,"complete_through":…}; the same on the channel activity:snapshots at every change
    activity:snapshot:<kind>:<window>                the head: window, version, complete_through, totals, number of rows and pages
    activity:snapshot:<kind>:<window>:rows:<page>    an array of up to 500 rows, in the report's order
    activity:snapshot:series                         connections and sign-ins per quarter hour of the last 30 days
    activity:snapshot:owner                          which service writes them

The prefix is ACTIVITY_APP_ID.  Kinds are active, inactive, authentication; windows 24h, 7d, 30d.  `complete_through` is null while the store
has not caught up since the service started.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from exporters import redis
from exporters.snapshots.shapes import Snapshot
from pipeline.settings import Settings

PAGE_ROWS = 500
KEPT_SECONDS = 24 * 3600
# A service that died lets go after this; one that was restarted is the same and need not wait.
OWNED_MS = 15_000


class Shelf:
    """Used by one thread.  Its calls raise Unavailable."""

    def __init__(self, settings: Settings, owner: str) -> None:
        self._settings = settings
        self._owner = owner
        self._client: Any = None
        self._written: dict[str, bytes] = {}
        self._mark = ""

    def put(
        self,
        snapshots: list[Snapshot],
        series: Callable[[], dict[str, Any]],
        *,
        version: int,
        complete_through: int | None,
        fresh: bool,
    ) -> bool:
        """Write what changed, or everything if what was written last is gone; False if another service owns the shelf."""
        with redis.answering():
            client = self._client = self._client or redis.connect(self._settings)
            if not self._own(client):
                self._mark = ""
                return False
            name = self._key("version")
            mark = msgspec.json.encode({"version": version, "complete_through": complete_through}).decode()
            kept = bool(self._mark) and client.get(name) == self._mark
            if kept and mark == self._mark:
                return True
            write = client.pipeline(transaction=True)
            if fresh or not kept:
                texts = self._texts(snapshots, series())
                for key, text in texts.items():
                    if not kept or self._written.get(key) != text:
                        write.set(key, text, ex=KEPT_SECONDS)
                    else:
                        write.expire(key, KEPT_SECONDS)
                for key in self._written.keys() - texts.keys():
                    write.delete(key)
                self._written = texts
            write.set(name, mark, ex=KEPT_SECONDS)
            write.publish(redis.key(self._settings, "snapshots"), mark)
            self._mark = ""
            write.execute()
            self._mark = mark
            return True

    def _own(self, client: Any) -> bool:
        name = self._key("owner")
        if client.set(name, self._owner, nx=True, px=OWNED_MS):
            return True
        if client.get(name) != self._owner:
            return False
        client.pexpire(name, OWNED_MS)
        return True

    def _texts(self, snapshots: list[Snapshot], series: dict[str, Any]) -> dict[str, bytes]:
        texts = {self._key("series"): msgspec.json.encode(series)}
        for snapshot in snapshots:
            head, name = snapshot.head, self._key(snapshot.head.kind, snapshot.head.window)
            pages = [snapshot.rows[n : n + PAGE_ROWS] for n in range(0, len(snapshot.rows), PAGE_ROWS)]
            texts[name] = msgspec.json.encode(msgspec.structs.asdict(head) | {"pages": len(pages)})
            texts |= {f"{name}:rows:{n}": b"[" + b",".join(page) + b"]" for n, page in enumerate(pages)}
        return texts

    def _key(self, *parts: str) -> str:
        return redis.key(self._settings, "snapshot", *parts)
