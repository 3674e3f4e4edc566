"""The named steps whose order is the product's promise.  A test stands at any of them and kills the process."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """In the order in which one worker passes them."""

    FENCED = "fenced"  # the fence is stored, the changelog not yet read
    STARTED = "started"  # the start's healing and ledger are durable
    REJECTS_SENT = "rejects_sent"  # rejects are stored, no data yet
    HALF_SENT = "half_sent"  # the first batch of a flush is stored, others are not
    LEDGER_DURABLE = "ledger_durable"  # data and ledger are stored, nothing is acknowledged
    ACKNOWLEDGED = "acknowledged"  # the stream is acknowledged, nothing is committed
    COMMITTED = "committed"  # the group's offset points at the ledger


def _nobody(_step: Step) -> None:
    return


observer: Callable[[Step], None] = _nobody


def reach(step: Step) -> None:
    observer(step)
