"""What every test gets."""

import logging
import os

from hypothesis import settings

from deploy.local import processes

# Tests side by side start servers at the same moment: each side has ports of its own.
side = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
sides = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
processes.PORTS = processes.PORTS[side::sides]

# The client repeats itself while a broker is away; a failed test must stay readable.
logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)

COULD_NOT_RUN = "COULD NOT RUN: "  # how the reason of a skip begins that must not go unnoticed


def pytest_terminal_summary(terminalreporter):
    """Say loudly what this machine could not show."""
    reasons = {str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ())}
    missing = sorted(r.split(COULD_NOT_RUN, 1)[1] for r in reasons if COULD_NOT_RUN in r)
    if missing:
        terminalreporter.section("NOT SHOWN ON THIS MACHINE", sep="!", red=True, bold=True)
        for line in missing:
            terminalreporter.line(line, red=True)


# A test is never judged by the time it took: the machine may be busy.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
