"""How mail leaves: one transaction with a server, and what became of each recipient.

A form of it is handed a whole message and says what the server said, recipient by recipient.  Every form keeps the same contract, which
`tests/contracts/test_senders.py` holds over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said of one recipient."""

    code: int
    text: str = ""

    @property
    def taken(self) -> bool:
        return 200 <= self.code < 300

    @property
    def final(self) -> bool:
        """Asking again will not change it."""
        return self.taken or self.code >= 500


def _nobody() -> None:
    return


class Sender(Protocol):
    def send(
        self, message: EmailMessage, recipients: Sequence[str], *, handing: Callable[[], None] = _nobody
    ) -> dict[str, Reply]:
        """One attempt.  `handing` is called when at least one recipient is welcome and the text is about to leave: until then nothing was handed
        over, and an end without an answer afterwards may have been a delivery.

        Raises Unavailable (nobody there, or not now) and Refused (this server will not have us: an operator is needed).
        """


class MemorySender:
    """Keeps what it is given; refuses whom it is told to.  For journeys without a server."""

    def __init__(self, refuses: dict[str, Reply] | None = None) -> None:
        self.sent: list[tuple[EmailMessage, tuple[str, ...]]] = []
        self.refuses = refuses or {}

    def send(
        self, message: EmailMessage, recipients: Sequence[str], *, handing: Callable[[], None] = _nobody
    ) -> dict[str, Reply]:
        said = {r: self.refuses.get(r, Reply(250, "taken")) for r in recipients}
        welcome = tuple(r for r, reply in said.items() if reply.taken)
        if welcome:
            handing()
            self.sent.append((message, welcome))
        return said
