"""Real Kafka, Redis and a mail server, shared by this room's tests; each test has topics and keys of its own."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from pipeline import broker
from pipeline import settings as settings_module


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items):
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.xdist_group("runs"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("servers"), servers_only=True) as stack:
        yield stack


@pytest.fixture
def settings(servers, tmp_path):
    """An installation of its own on the shared servers."""
    return installation(servers, tmp_path)


def installation(servers, data, **more):
    name = f"t{uuid.uuid4().hex[:10]}"
    given = servers.settings()
    made = settings_module.load(
        data,
        kafka=given.kafka,
        redis=given.redis,
        smtp_host=given.smtp_host,
        smtp_port=given.smtp_port,
        smtp_security="off",
        reports_url="http://127.0.0.1:1",
        app_id=name,
        topic_prefix=name,
        partitions=1,
        **more,
    )
    broker.create(made)
    return made
