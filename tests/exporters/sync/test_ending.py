"""A signal may come at any moment of the loop that waits for it."""

import subprocess
import sys

SIGNALS = """
import signal
from exporters.sync.app import Ending
for n in range(1000):
    ending = Ending()
    signal.signal(signal.SIGALRM, ending)
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + n / 1e6)
    while not ending.wait(0):
        pass
"""


def test_a_signal_is_never_waited_for_by_whom_it_interrupts():
    subprocess.run([sys.executable, "-c", SIGNALS], timeout=60, check=True)
