"""The named steps whose order is the promise of the sync.  A test stands at any of them and kills the process."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """In the order in which one delivery passes them."""

    CUT_WRITTEN = "cut_written"  # the cut is in the log, nobody has read it back
    CUT_READ = "cut_read"  # it was read back, nothing is put
    BEFORE_PUT = "before_put"  # the next thing is the store's
    AFTER_PUT = "after_put"  # the store answered, nobody wrote it down
    ENDED = "ended"  # the cut's end is in the log, nothing is committed
    COMMITTED = "committed"  # the group's offset lies behind the cut
    MANIFEST_WRITTEN = "manifest_written"  # the manifest is in the log, not in the store
    MANIFEST_PUT = "manifest_put"  # it is in the store, its end not in the log


def _nobody(_step: Step) -> None:
    return


observer: Callable[[Step], None] = _nobody


def reach(step: Step) -> None:
    observer(step)
