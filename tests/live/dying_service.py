"""A reports service that kills itself at a named step, once: `python -m tests.live.dying_service DATA PORT PLAN`.

PLAN is a file with the step to die at; it is emptied first, so that the next life goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from exporters import app
from exporters.reports import steps
from pipeline import settings


def main() -> None:
    data, port, plan = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

    def stand(step: steps.Step) -> None:
        if plan.read_text() == step.value:
            plan.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)

    steps.observer = stand
    app.main(settings.load(data, reports_port=port))


if __name__ == "__main__":
    main()
