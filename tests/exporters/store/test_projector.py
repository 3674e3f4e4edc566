"""What the projector notes of its way: a next start reads on from there, and what it reads twice stands in the store once."""

from __future__ import annotations

import json

import pytest
from kafka import KafkaProducer

from exporters.store.projector import Projector
from exporters.store.store import Store
from pipeline import topics
from pipeline.metrics import Metrics
from tests.exporters.reports.conftest import servers, settings  # noqa: F401 - fixtures
from tests.live.system import eventually

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("runs")]


@pytest.fixture
def store(tmp_path):
    store = Store.open(f"chdb://{tmp_path / 'store'}", memory_bytes=500_000_000)
    yield store
    store.close()


def sign_in(n):
    action = {"type": "client_login", "result": "success", "user": {"id": str(n), "email": f"u{n}@example.com"}}
    return {"version": 1, "time": "2026-03-10T10:00:00.000Z", "action": action}


def write(settings, role, values):  # noqa: F811
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    for key, value in values:
        producer.send(role.name(prefix=settings.topic_prefix, app=settings.app_id), key=key, value=json.dumps(value).encode())  # fmt: skip
    producer.close()


def run(settings, store):  # noqa: F811
    """A projector's life, from its start to a clean stop with everything in the store; the ends it saw."""
    projector = Projector(settings, store, Metrics())
    projector.start()
    eventually(lambda: projector.ready and not any(projector.lag().values()))
    projector.stop()
    projector.join()
    assert projector.problem is None
    return dict(projector._ends)


def contents(store):
    tables = ("sign_ins", "sign_ins_of", "accounts", "rejects")
    return {t: sorted(map(str, store._client().query(f"SELECT * FROM {t} FINAL").result_rows)) for t in tables}


def saved(store):
    return {(topic, part): next_ for topic, part, _, next_, *_ in store.rows("positions")}


def test_a_clean_stop_notes_how_far_everything_is(settings, store):  # noqa: F811
    write(settings, topics.AUTHENTICATIONS, [(b"", sign_in(n)) for n in range(20)])
    write(settings, topics.DIRECTORY, [(b"1", {"email": "u1@example.com", "state": "active"})])
    ends = run(settings, store)
    assert saved(store) == {tuple(tp): end for tp, end in ends.items() if end}
    write(settings, topics.AUTHENTICATIONS, [(b"", sign_in(20))])
    ends = run(settings, store)
    assert saved(store) == {tuple(tp): end for tp, end in ends.items() if end}


def test_what_was_put_in_but_not_noted_before_a_death_stands_there_once(settings, store):  # noqa: F811
    write(settings, topics.AUTHENTICATIONS, [(b"", sign_in(n % 15)) for n in range(20)])
    write(settings, topics.DIRECTORY, [(b"1", {"email": "u1@example.com"}), (b"2", {}), (b"1", {"state": "active"})])
    write(settings, topics.REJECTS, [(b"", {})])
    run(settings, store)
    before = contents(store)
    assert [len(before[t]) for t in ("sign_ins", "accounts", "rejects")] == [15, 2, 1]
    store._client().command("TRUNCATE TABLE positions")  # as if it had died before it noted anything
    run(settings, store)
    assert contents(store) == before
