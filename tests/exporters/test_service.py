"""The reports service as a whole: its parts outlive what nobody foresaw, and one that has ended is said."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import pytest
from kafka import KafkaProducer

from exporters.access import keys
from exporters.access.audit import Audit, Entry, Past
from exporters.reports.ask import Ask
from exporters.reports.build import Parameters
from exporters.reports.runs import READY, Run
from exporters.service import Service
from exporters.web import asks, site
from pipeline import clock
from pipeline.errors import RequestError
from pipeline.metrics import Metrics
from tests.exporters.reports.conftest import servers, settings  # noqa: F401 - fixtures
from tests.live.system import eventually

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("runs")]


def test_a_part_that_has_ended_is_named_by_its_health(settings):  # noqa: F811
    service = Service(settings)
    service.start()
    try:
        eventually(lambda: service.unhealthy() is None)
        service.mailroom.stop()
        service.mailroom.join()
        assert "has ended (mailroom)" in service.unhealthy()
        assert "has ended (mailroom)" in service.degraded()[0]
    finally:
        service.stop()
        service.store.close()
    assert "has ended" not in (service.unhealthy() or ""), "it was told to"


async def answers(service, *paths):
    headers = {"Authorization": f"Bearer {keys.local_token(service.settings)}"}
    transport = httpx.ASGITransport(app=site.make(service))
    async with httpx.AsyncClient(
        transport=transport, base_url=service.settings.reports_url, headers=headers, follow_redirects=True
    ) as client:
        return [await client.get(path) for path in paths]


def test_how_far_the_store_is_is_not_known_before_it_has_caught_up(settings):  # noqa: F811
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    producer.send(f"{settings.topic_prefix}.connections", key=b"1", value=b"{}").get(30)  # and no worker reads it
    producer.close()
    service = Service(settings)
    service.start()
    try:
        eventually(lambda: service.snapshots.moment is not None)
        paths = ("/overview", "/api/v1/snapshots/active", "/api/v1/users", "/metrics")
        page, snapshot, users, metrics = asyncio.run(answers(service, *paths))
        assert "not known yet" in page.text
        assert "1970" not in page.text
        assert snapshot.json()["complete_through"] is None
        assert users.json()["complete_through"] is None
        assert "activity_snapshot_behind_seconds 0.0" in metrics.text
    finally:
        service.stop()
        service.store.close()


def test_deleting_a_report_gives_back_none_of_the_time_it_took(settings):  # noqa: F811
    service = Service(settings.model_copy(update={"report_hour_seconds": 10}))
    service.start()
    try:
        eventually(lambda: service.unhealthy() is None)
        now = clock.now_ms()
        made = Run("r1", "inactive", READY, Parameters(days=30), now, now, by="jane", build_seconds=60.0)
        service.runs.journal.write("r1", msgspec.json.encode(made))
        for _ in range(2):
            with pytest.raises(RequestError) as refused:
                asks.request(service, Ask(kind="inactive"), by="jane")
            assert refused.value.code == "too_costly"
            service.builder.forget(made)
        assert service.runs.all() == []
    finally:
        service.stop()
        service.store.close()


def test_an_entry_that_cannot_be_written_does_not_end_the_audit(settings):  # noqa: F811
    metrics = Metrics()
    audit = Audit(settings, metrics)
    for target in ("/\udce9", "/reports"):
        audit.write(Entry(1, "jane", "read", target, "done", 200))
    audit.stop()
    audit.run()
    found, _ = Past(settings).before(None, limit=10, wanted=lambda _entry: True)
    assert [entry.target for _, entry in found] == ["/reports"]
    assert metrics["activity_audit_lost_total"]._value.get() == 1
