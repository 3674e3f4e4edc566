"""What became of the mail of each run: the sent-record, in the journal.

    claimed ──► handing ──► done
       │  ▲        │
       └► waiting ◄┘

`handing` is written before the text leaves.  A death between it and the server's answer leaves open whether the mail is there; it is then sent
once more, under the same Message-ID, and never a third time.  Whoever sends claims first, as runs are claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from exporters.journal import Journal
from pipeline import clock

MAIL = "mail/"
WAITING, CLAIMED, HANDING, DONE = "waiting", "claimed", "handing", "done"
NEXT: dict[str, tuple[str, ...]] = {
    WAITING: (),
    CLAIMED: (WAITING, HANDING, DONE),
    HANDING: (WAITING, DONE),
    DONE: (),
}


class Mail(msgspec.Struct):
    """The mail of one run.  `said` has the server's last word on each recipient who needs no more asking; `handed` counts texts that left and were
    not answered for; `retry_at` is when it may be claimed again.
    """

    run: str
    state: str
    changed_at: int
    attempt: int = 1
    holder: str = ""
    tries: int = 0
    retry_at: int = 0
    handed: int = 0
    said: dict[str, int] = {}
    error: str = ""


_decoder = msgspec.json.Decoder(Mail)


def allowed(before: Mail, after: Mail) -> bool:
    """Whether one record may follow another of the same mail."""
    if after.attempt == before.attempt + 1:
        return before.state != DONE and after.state == CLAIMED
    mine = after.attempt == before.attempt and after.holder == before.holder
    return mine and after.state in NEXT[before.state]


class Mails:
    """The mails, as the journal has them."""

    def __init__(self) -> None:
        self._mails: dict[str, Mail] = {}
        self._journal: Journal | None = None

    def lie_on(self, journal: Journal) -> None:
        self._journal = journal

    def apply(self, key: str, value: bytes | None) -> bool | None:
        run = key.removeprefix(MAIL)
        if value is None:
            self._mails.pop(run, None)
            return True
        try:
            mail = _decoder.decode(value)
        except msgspec.MsgspecError:
            return None
        before = self._mails.get(run)
        if mail.run != run or mail.state not in NEXT:
            return None
        if before is not None and not allowed(before, mail):
            return False
        self._mails[run] = mail
        return True

    def get(self, run: str) -> Mail | None:
        return self._locked(lambda: self._mails.get(run))

    def change(self, mail: Mail, state: str, **fields: Any) -> Mail | None:
        """Write a new state and return the mail as the topic then has it.  Raises Unavailable."""
        new = msgspec.structs.replace(mail, state=state, changed_at=clock.now_ms(), **fields)
        self.on.write(f"{MAIL}{mail.run}", msgspec.json.encode(new))
        return self.get(mail.run)

    def forget(self, run: str) -> None:
        """Raises Unavailable."""
        if self.get(run) is not None:
            self.on.write(f"{MAIL}{run}", None)

    @property
    def on(self) -> Journal:
        assert self._journal is not None
        return self._journal

    def _locked(self, look: Callable[[], Mail | None]) -> Mail | None:
        with self.on.changed:
            return look()
