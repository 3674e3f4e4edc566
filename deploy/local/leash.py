"""Run a server that does not outlive whoever started it: `python -m deploy.local.leash COMMAND…` ends the command when its standard input closes.

A parent that is killed cannot clean up; its end of a pipe closes by itself.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

GRACE_SECONDS = 10.0


def main() -> int:
    stopping = {"signal": 0}

    def forward(number: int, _frame: object) -> None:
        stopping["signal"] = number
        child.send_signal(signal.SIGTERM)

    woken = _woken_by_signals()
    signal.signal(signal.SIGCHLD, lambda *_: None)  # it only has to wake us
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the whole terminal; the parent stops us in order
    while child.poll() is None:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            os.read(woken, 1024)
        elif not os.read(0, 1):
            child.terminate()
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            break
    # However it says that it was asked to stop; but one that was killed meanwhile had not finished.
    return 0 if stopping["signal"] and child.returncode != -signal.SIGKILL else child.returncode


def _woken_by_signals() -> int:
    """What can be read whenever a signal came: nothing is asked for in turns."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    return woken


if __name__ == "__main__":
    sys.exit(main())
