"""What one principal did in one bucket.  An empty rollup is zero; merging is associative and commutative.

The field list is the table: merging, the documentation and the store's columns derive from each field's kind.  `apply` is written by hand because it
runs once per event.
"""

from __future__ import annotations

from typing import Annotated, Any, get_type_hints

import msgspec

from pipeline.model.events import ESTABLISHED, FAILED_DNS, PEER_TO_PEER, RELAY, SUCCESS, Authentication, Connection

SUM = "sum"  # numbers add
LATEST = "latest"  # the greater one stays; 0 is "never"
COUNTS = "counts"  # counts per text add


def _measure(kind: str, help_text: str) -> msgspec.Meta:
    return msgspec.Meta(description=help_text, extra={"kind": kind})


def measures(rollup: type[Any]) -> dict[str, tuple[str, str]]:
    """{field: (kind, help)} in the order of the fields."""
    hints = get_type_hints(rollup, include_extras=True)
    table = {}
    for name in rollup.__struct_fields__:
        meta = hints[name].__metadata__[0]
        table[name] = (meta.extra["kind"], meta.description)
    return table


class _Rollup(msgspec.Struct, omit_defaults=True, gc=False):
    def merge(self, other: Any) -> None:
        """Add another rollup of the same principal and bucket."""
        for name, (kind, _) in measures(type(self)).items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if kind == SUM:
                setattr(self, name, mine + theirs)
            elif kind == LATEST:
                setattr(self, name, max(mine, theirs))
            else:
                for text, count in theirs.items():
                    mine[text] = mine.get(text, 0) + count


class ConnectionRollup(_Rollup, omit_defaults=True, gc=False):
    success: Annotated[int, _measure(SUM, "Connections that were closed normally")] = 0
    failed_dns: Annotated[int, _measure(SUM, "Failures because a name did not resolve")] = 0
    failed_other: Annotated[int, _measure(SUM, "All other failures, denied access included")] = 0
    bytes_transferred: Annotated[int, _measure(SUM, "Bytes from the user to the Resource")] = 0
    bytes_received: Annotated[int, _measure(SUM, "Bytes from the Resource to the user")] = 0
    relay: Annotated[int, _measure(SUM, "Successful connections that went through a relay")] = 0
    p2p: Annotated[int, _measure(SUM, "Successful connections that went peer to peer")] = 0
    last_access: Annotated[int, _measure(LATEST, "Newest closed or established connection, UTC ms")] = 0
    client_ips: Annotated[dict[str, int], _measure(COUNTS, "Successful connections per client address")] = {}
    devices: Annotated[dict[str, int], _measure(COUNTS, "Successful connections per device")] = {}

    def apply(self, event: Connection) -> int:
        """Add one event; returns by how many bytes the encoded form grew, numbers not counted."""
        outcome = event.outcome
        if outcome == SUCCESS:
            self.success += 1
            self.bytes_transferred += event.bytes_transferred
            self.bytes_received += event.bytes_received
            if event.path == RELAY:
                self.relay += 1
            elif event.path == PEER_TO_PEER:
                self.p2p += 1
            if event.time > self.last_access:
                self.last_access = event.time
            grown = 0
            text = event.client_ip
            if text:
                counts = self.client_ips
                count = counts.get(text)
                if count is None:
                    counts[text] = 1
                    grown = len(text) + 5
                else:
                    counts[text] = count + 1
            text = event.device
            if text:
                counts = self.devices
                count = counts.get(text)
                if count is None:
                    counts[text] = 1
                    grown += len(text) * 4 + 5  # four: the most that UTF-8 makes of one character
                else:
                    counts[text] = count + 1
            return grown
        if outcome == ESTABLISHED:
            self.last_access = max(self.last_access, event.time)
        elif outcome == FAILED_DNS:
            self.failed_dns += 1
        else:
            self.failed_other += 1
        return 0


class AuthenticationRollup(_Rollup, omit_defaults=True, gc=False):
    outcomes: Annotated[dict[str, int], _measure(COUNTS, "Events per type/result/reason")] = {}
    last_success: Annotated[int, _measure(LATEST, "Newest success, UTC ms")] = 0
    last_failure: Annotated[int, _measure(LATEST, "Newest failure, UTC ms")] = 0

    def apply(self, event: Authentication) -> int:
        text = f"{event.type}/{event.result}/{event.reason}"
        count = self.outcomes.get(text, 0)
        self.outcomes[text] = count + 1
        if event.result == SUCCESS:
            self.last_success = max(self.last_success, event.time)
        else:
            self.last_failure = max(self.last_failure, event.time)
        return 0 if count else len(text) + 5
