"""The worker: Faust, fitted for lists, around two rolling tables."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import faust
from faust.types import TP
from prometheus_client import start_http_server

from pipeline import broker, logs, topics
from pipeline.agents import apply
from pipeline.engine import records, transport
from pipeline.engine.flusher import Flusher
from pipeline.engine.lists import ListScheduler, ListSchema
from pipeline.engine.recovery import TableManager
from pipeline.engine.table import RollingTable, Spec
from pipeline.errors import ConfigError
from pipeline.metrics import Metrics
from pipeline.model import structs
from pipeline.model.verdicts import Verdicts
from pipeline.settings import Settings
from pipeline.tables.rolling import specs

_RAW = {"key_serializer": "raw", "value_serializer": "raw"}
# Two reads of this size per partition fill a catch-up list; memory is about partitions x size x 3.
FETCH_BYTES = 1 << 20


class Worker(faust.App):
    """Faust's app with what the engine adds to it."""

    specs: dict[str, Spec]  # by source topic
    judges: dict[TP, Verdicts]
    metrics: Metrics
    flusher: Flusher

    def recovery_seconds(self, seconds: float) -> None:
        self.metrics["activity_worker_recovery_seconds"].set(seconds)


def make(settings: Settings) -> Worker:
    """Check the topics, then build the app.  Raises ConfigError with all differences at once."""
    off = broker.check(settings)
    if off:
        raise ConfigError("; ".join(off))
    datadir = settings.data / "worker"
    try:
        datadir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{datadir} cannot be written ({error.strerror}); choose another directory with --data"
        ) from None
    app = Worker(
        settings.app_id,
        broker=[f"kafka://{one}" for one in settings.kafka.split(",")],
        ConsumerScheduler=ListScheduler,
        Table=RollingTable,
        TableManager=TableManager,
        table_standby_replicas=0,
        topic_partitions=settings.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_max_batch_size=1 << 20,
        producer_max_request_size=topics.REJECT_BYTES,
        producer_request_timeout=2 * settings.stall_seconds,  # then the flush has failed, and with it the process
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=64,
        stream_wait_empty=True,
        broker_max_poll_interval=10**6,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 10,
        broker_request_timeout=max(40.0, settings.session_timeout_seconds + 10),
        broker_rebalance_timeout=60.0,
        broker_commit_interval=settings.commit_seconds,
        stream_processing_timeout=10**6,
        broker_commit_livelock_soft_timeout=10**6,
        web_enabled=False,
        datadir=str(datadir),
    )
    transport.install(app)
    records.install()
    metrics = app.metrics = Metrics()
    made = specs(settings, broker.describe(settings))
    app.specs = {spec.source: spec for spec in made}
    app.judges = {}
    rejects = topics.REJECTS.name(prefix=settings.topic_prefix, app=settings.app_id)
    flusher = app.flusher = Flusher(app, settings, metrics, rejects)
    for spec in made:
        topic = app.topic(spec.source, schema=ListSchema(**_RAW))
        table: Any = app.Table(
            spec.role,
            partitions=settings.partitions,
            key_type=bytes,
            value_type=bytes,
            schema=ListSchema(**_RAW),
            recovery_buffer_size=2,
        )
        table.spec = spec
        apply.define(app, topic, flusher, name=f"apply-{spec.role}")

    @app.task
    async def flush() -> None:
        gc.freeze()
        await flusher.run()

    @app.on_before_shutdown.connect
    async def end(*_: Any, **__: Any) -> None:
        await flusher.end()

    return app


def main(settings: Settings) -> None:
    """Run one worker until a signal."""
    logs.configure(level=settings.log_level, json_lines=settings.log_json)
    settings.needs("kafka")
    broker.ready(settings)
    structs.ready()
    asyncio.set_event_loop(asyncio.new_event_loop())
    app = make(settings)
    if settings.worker_port:
        try:
            start_http_server(settings.worker_port, addr="127.0.0.1", registry=app.metrics.registry)
        except OSError as error:
            raise ConfigError(
                f"127.0.0.1 port {settings.worker_port} cannot be listened on ({error.strerror}); choose another with --port or ACTIVITY_WORKER_PORT"
            ) from None
    worker = faust.Worker(app, quiet=True, redirect_stdouts=False, override_logging=False)
    worker.spinner = None  # it hides the terminal's cursor even where quiet, and whoever dies cannot show it again
    worker.execute_from_commandline()
