"""Every error is named by what the reader must do next.

    Problem                     never raised itself
    ├── ConfigError             change a setting or a flag; nothing was started        exit 2
    ├── RequestError            ask for something else                                 exit 1
    ├── Unavailable             wait: the far side is away, nothing is lost            (retried, or exit 2 from a verb)
    ├── Refused                 the far side will say no again: change what it needs   exit 2
    └── Halt                    the process must end so that a restart replays         exit 71-79

A record that can never be an event is `pipeline.model.events.Rejected`.  Everything else that escapes is a bug: exit 70 with its trace.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_REQUEST = 1
EXIT_CONFIG = 2
EXIT_BUG = 70
EXIT_SIGNAL = 128  # plus the signal's number, as shells have it


class Problem(Exception):  # noqa: N818 - its children carry the name of the remedy
    """Something a person can act upon; its text is one line that says what happened, to what, and what to do."""

    exit_code = EXIT_REQUEST


class ConfigError(Problem):
    """A setting, flag or file is wrong.  Operator action: change what the line names; nothing was started."""

    exit_code = EXIT_CONFIG


class RequestError(Problem):
    """What was asked for cannot be.  Operator action: ask again as the line says."""

    def __init__(
        self, message: str, *, status: int = 422, code: str = "bad_request", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Problem):
    """The far side is away for now; nothing was committed.  Operator action: none, or start what the line names."""

    exit_code = EXIT_CONFIG

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Refused(Problem):
    """The far side will refuse again.  Operator action: give it what `needs` names."""

    exit_code = EXIT_CONFIG


class Halt(Problem):
    """The process must end now: what it holds can no longer be trusted, the log can.

    Operator action: none if a supervisor restarts the process (the restart replays from the ledger); if it repeats, read the line.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
