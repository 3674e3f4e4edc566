"""Child processes that never outlive us, write into log files, and are restarted when they fail."""

from __future__ import annotations

import collections
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import clock, logs
from pipeline.errors import EXIT_CONFIG, ConfigError

log = logs.logger("stack")

# A slow machine takes ten seconds to start a service and to see that it cannot run.
QUICK_SECONDS = 30.0
QUICK_FAILURES = 5
# What cannot run as it is set up says so by its exit code; while nobody has seen it run, asking it again and again makes somebody wait for the reason.
REFUSALS = 2
LOG_BYTES = 20 << 20
# Below every system's own range for outgoing connections: one of those must not take a port between our look and the server's start.
PORTS = range(15_000, 30_000)


def free_ports(preferred: Mapping[str, int]) -> dict[str, int]:
    """A port for each name, none twice: the preferred one (0: any) if it is free.  Raises ConfigError."""
    chosen: dict[str, int] = {}
    for name, port in preferred.items():
        chosen[name] = free_port(port, but=chosen.values())
    return chosen


def free_port(preferred: int = 0, but: Collection[int] = ()) -> int:
    """A port of 127.0.0.1 that nobody listens on: the preferred one if it is free.  Raises ConfigError."""
    for port in (preferred, *random.sample(PORTS, 100)):
        if port and port not in but and _free(port):
            return port
    raise ConfigError(f"no free port between {PORTS.start} and {PORTS.stop}; stop something that listens there")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class Child:
    """One supervised process.  It comes back after a failure; several quick ones in a row give up, for a broker that restarts causes some, too."""

    name: str
    command: list[str]
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    proven: bool = False  # it ran once, with all the others: what it says now may be about one of them that is away
    _began: float = 0.0
    _failures: int = 0
    _again_at: float = 0.0

    def start(self) -> None:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".1.log"))
        with self.log_file.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local.leash", *self.command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._began = clock.monotonic()

    def look(self) -> None:
        """Restart the process if it failed.  Raises ConfigError when that is hopeless."""
        if self.process is None:
            if clock.monotonic() >= self._again_at:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        quick = clock.monotonic() - self._began < QUICK_SECONDS
        self._failures = self._failures + 1 if quick else 1
        if self._failures >= (REFUSALS if code == EXIT_CONFIG and not self.proven else QUICK_FAILURES):
            raise ConfigError(
                f"{self.name} ended with code {code} and will not be started again: {self.last_words()} (log: {self.log_file})"
            )
        wait = min(8.0, 0.25 * 2**self._failures)
        log.warning("restarting", child=self.name, code=code, seconds=wait)
        self.process, self._again_at = None, clock.monotonic() + wait

    def last_words(self) -> str:
        try:
            with self.log_file.open(errors="replace") as lines:
                return " | ".join(line.strip() for line in collections.deque((x for x in lines if x.strip()), maxlen=2))
        except OSError:
            return "no log"

    def stop(self, seconds: float) -> bool:
        """End it: politely, then not.  Whether it did as it was asked."""
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            if self.process.stdin is not None:
                self.process.stdin.close()
            try:
                self.process.wait(12)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            return False
