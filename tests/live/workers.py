"""Workers of a test's own beside a stack whose worker is gone: they can be frozen, and die where they are told to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.engine.table import EXIT_FOREIGN
from tests.live.system import eventually


class Workers:
    def __init__(self, system):
        self.system = system
        for child in [c for c in system.stack._children if c.name == "worker"]:
            child.stop(10)
            system.stack._children.remove(child)

    def start(self, step="none", count=1):
        with (self.system.stack.data / "logs" / "dying.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.live.dying_worker", str(self.system.stack.data), step, str(count)]
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])

    def supervise(self, processes):
        """As a supervisor does: one that ended because another wrote where it writes comes back."""
        for n, process in enumerate(processes):
            if process.poll() == EXIT_FOREIGN:
                processes[n] = self.start()

    def dies(self, process):
        return eventually(lambda: process.poll() is not None, seconds=60) and process.returncode
