"""The named steps of a run, of its mail and of a schedule whose order is a promise.  A test stands at any of them and ends the process.

What a death at each of them leaves is made good by the next start: the journal says what was decided, everything else is done again or taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """In the order in which one report passes them."""

    DUE = "due"  # a schedule's instant has come, nothing is written
    SCHEDULED = "scheduled"  # its run is in the journal, the schedule still says the old instant
    ADVANCED = "advanced"  # the schedule says its next instant
    ASKED = "asked"  # the run is in the journal, nobody was told
    OFFERED = "offered"  # it is in the queue
    TAKEN = "taken"  # the queue gave it to this service, the journal does not know
    CLAIMED = "claimed"  # the journal says whose it is
    BUILDING = "building"  # the journal says that it is being made
    HALF_WRITTEN = "half_written"  # a part of the file lies on the disk
    WRITTEN = "written"  # the whole file does, under a name nobody looks for
    STORED = "stored"  # it lies where files are taken from, the journal does not know
    READY = "ready"  # the journal says ready, the queue still has it
    MAIL_CLAIMED = "mail_claimed"  # the journal says who sends its mail
    MAIL_HANDING = "mail_handing"  # the journal says that the text is about to leave
    MAIL_TAKEN = "mail_taken"  # the server has taken it, the journal does not know
    MAIL_SENT = "mail_sent"  # the journal knows
    EXPIRING = "expiring"  # the file is deleted, the journal still says ready


def _nobody(_step: Step) -> None:
    return


observer: Callable[[Step], None] = _nobody


def reach(step: Step) -> None:
    observer(step)
