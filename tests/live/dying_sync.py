"""A sync that kills itself the n-th time it passes a named step: `python -m tests.live.dying_sync DATA STEP N`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from exporters.sync import app, steps
from pipeline import settings


def main() -> None:
    data, wanted, left = Path(sys.argv[1]), sys.argv[2], [int(sys.argv[3])]
    lock = threading.Lock()

    def stand(step: steps.Step) -> None:
        if step.value == wanted:
            with lock:
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    steps.observer = stand
    app.main(settings.load(data))


if __name__ == "__main__":
    main()
