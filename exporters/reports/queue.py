"""Whose turn it is, on Redis Streams: two lanes, one group, every entry leased to one service at a time.

    offer ──► stream of a lane ──► take (XREADGROUP) ──► keep (lease renewed) ──► done
                                      ▲                        │
                                      └──── XAUTOCLAIM ◄───────┘ nobody renewed it: that service is gone

What is lost here is only the order: the journal has every open run, and whoever sees one that nobody holds offers it again.  An offer of a run that
is in already changes nothing.  A run that is given out twice is made once, for the journal's claims decide that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporters import redis
from pipeline.settings import Settings

SHORT, LONG = "short", "long"
LANES = (SHORT, LONG)
GROUP = "builders"
# A service that renews this rarely is gone; it renews three times as often.
LEASE_SECONDS = 30.0

# Both or neither: an entry without its mark would be added twice, a mark without its entry never.
_OFFER = """
if redis.call('SADD', KEYS[1], ARGV[1]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'run', ARGV[1])
  return 1
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry that this service holds."""

    run: str
    lane: str
    entry: str


class Queue:
    """`alone`: no other service works on these runs, so what an earlier life of this one held is taken over at once."""

    def __init__(self, settings: Settings, name: str, *, alone: bool) -> None:
        self._client = redis.connect(settings)
        self._name = name
        self._alone = alone
        self._streams = {lane: redis.key(settings, "queue", lane) for lane in LANES}
        self._marks = redis.key(settings, "queue", "runs")
        self._prepared = False

    def offer(self, run: str, lane: str) -> bool:
        """Put a run in, if it is not.  Raises Unavailable."""
        with redis.answering():
            return bool(self._client.eval(_OFFER, 2, self._marks, self._streams[lane], run))

    def take(self, room: dict[str, int]) -> list[Taken]:
        """At most so many new entries of each lane, and what other services let go of by dying.  Raises Unavailable."""
        taken: list[Taken] = []
        with redis.answering():
            self._prepare()
            for lane, count in room.items():
                if count <= 0:
                    continue
                entries = self._autoclaim(lane, round(LEASE_SECONDS * 1000), count)
                answer = self._read(lane, count)
                taken += [Taken(fields["run"], lane, entry) for entry, fields in (*entries, *answer) if fields]
        return taken

    def keep(self, held: list[Taken]) -> None:
        """Renew the lease.  Raises Unavailable."""
        with redis.answering():
            for lane in LANES:
                entries = [t.entry for t in held if t.lane == lane]
                if not entries or not self._prepared:
                    continue
                try:
                    self._client.xclaim(self._streams[lane], GROUP, self._name, 0, entries, justid=True)
                except Exception as error:
                    self._emptied(error)

    def done(self, taken: Taken) -> None:
        """Take an entry out: its run is made, or not to be made now.  Raises Unavailable."""
        with redis.answering():
            step = self._client.pipeline(transaction=True)
            step.xack(self._streams[taken.lane], GROUP, taken.entry)
            step.xdel(self._streams[taken.lane], taken.entry)
            step.srem(self._marks, taken.run)
            step.execute()

    def lengths(self) -> dict[str, int]:
        """Entries in each lane, held or not.  Raises Unavailable."""
        with redis.answering():
            return {lane: int(self._client.xlen(stream)) for lane, stream in self._streams.items()}

    def close(self) -> None:
        self._client.close()

    def _prepare(self) -> None:
        if self._prepared:
            return
        for stream in self._streams.values():
            try:
                self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except Exception as error:
                if not str(error).startswith("BUSYGROUP"):  # it is there: all the better
                    raise
        if self._alone:
            for lane in LANES:
                for entry, fields in self._autoclaim(lane, 0, 10_000):
                    if fields:
                        self.done(Taken(fields["run"], lane, entry))  # offered again by whoever looks at the journal
        self._prepared = True

    def _autoclaim(self, lane: str, idle_ms: int, count: int) -> list[tuple[str, dict[str, str]]]:
        try:
            answer: Any = self._client.xautoclaim(
                self._streams[lane], GROUP, self._name, idle_ms, start_id="0-0", count=count
            )
        except Exception as error:
            return self._emptied(error)
        return [(entry, fields) for entry, fields in answer[1]]

    def _read(self, lane: str, count: int) -> list[tuple[str, dict[str, str]]]:
        stream = self._streams[lane]
        try:
            answer: Any = self._client.xreadgroup(GROUP, self._name, {stream: ">"}, count=count)
        except Exception as error:
            return self._emptied(error)
        return [(entry, fields) for batch in (answer or {}).get(stream, []) for entry, fields in batch]

    def _emptied(self, error: Exception) -> list[tuple[str, dict[str, str]]]:
        """The group is made again at the next turn."""
        if not redis.forgotten(error):
            raise error
        self._prepared = False
        return []
