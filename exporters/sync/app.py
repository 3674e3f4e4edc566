"""The process `activity sync`: one pump per destination, until a signal.  Several may run; they share the partitions of each destination."""

from __future__ import annotations

import signal
import threading
import uuid
from pathlib import Path

from prometheus_client import start_http_server

from exporters.sinks.opening import open_sink
from exporters.sync.destinations import Destination, configured
from exporters.sync.pump import Pump
from pipeline import logs
from pipeline.errors import ConfigError
from pipeline.metrics import Metrics
from pipeline.settings import Settings

log = logs.logger("sync")


def main(settings: Settings) -> None:
    """Deliver until a signal.  Raises ConfigError, or whatever ended a pump."""
    logs.configure(level=settings.log_level, json_lines=settings.log_json)
    settings.needs("kafka")
    destinations = configured(settings)
    if not destinations:
        raise ConfigError(
            "there is no destination: write a table [destinations.NAME] with a target into "
            f"{settings.data / 'activity.toml'}, or set ACTIVITY_DESTINATIONS; see docs/sync.md"
        )
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    run(settings, destinations, ending)


def run(settings: Settings, destinations: dict[str, Destination], ending: threading.Event) -> None:
    metrics = Metrics()
    if settings.sync_port:
        start_http_server(settings.sync_port, "127.0.0.1", registry=metrics.registry)
    share = settings.sync_memory_bytes // len(destinations)
    member = uuid.uuid4().hex[:8]
    pumps = [
        Pump(settings, name, destination, open_sink(destination.target), metrics, memory_bytes=share, member=member)
        for name, destination in sorted(destinations.items())
    ]
    for pump in pumps:
        pump.start()
    log.info("delivering", destinations=", ".join(sorted(destinations)))
    try:
        while not ending.wait(0.2):
            failed = next((p.problem for p in pumps if p.problem is not None), None)
            if failed is not None:
                raise failed
    finally:
        for pump in pumps:
            pump.stop()
        for pump in pumps:
            pump.join(20)
    failed = next((p.problem for p in pumps if p.problem is not None), None)
    if failed is not None:
        raise failed


def verifier() -> Path:
    """The file that a customer can run with boto3 alone."""
    return Path(__file__).with_name("verify.py")
