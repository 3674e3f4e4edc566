"""The store in each of its forms: embedded, over HTTP, and on a real ClickHouse server if ACTIVITY_TEST_CLICKHOUSE names one."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import clickhouse_connect
import pytest

from exporters.store.store import Store

SERVER = os.environ.get("ACTIVITY_TEST_CLICKHOUSE", "")  # http://user:password@host:8123
MEMORY = 500_000_000


@pytest.fixture(scope="module", params=["embedded", "http", *(["server"] if SERVER else [])])
def url(request, tmp_path_factory):
    if request.param == "embedded":
        yield f"chdb://{tmp_path_factory.mktemp('embedded') / 'store'}"
    elif request.param == "http":
        path = tmp_path_factory.mktemp("http") / "store"
        with subprocess.Popen(
            [sys.executable, "-m", "tests.exporters.store.face", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as face:
            yield f"http://127.0.0.1:{int(face.stdout.readline())}/default"
            face.stdin.close()
    else:
        database = f"activity_test_{uuid.uuid4().hex[:8]}"
        with clickhouse_connect.get_client(dsn=SERVER) as client:
            client.command(f"CREATE DATABASE {database}")
            yield f"{SERVER.rstrip('/')}/{database}"
            client.command(f"DROP DATABASE {database}")


class Opened:
    def __init__(self, url):
        self.url = url
        self.store = Store.open(url, memory_bytes=MEMORY)

    def again(self):
        self.store.close()
        self.store = Store.open(self.url, memory_bytes=MEMORY)
        return self.store


@pytest.fixture(scope="module")
def opened(url):
    opened = Opened(url)
    yield opened
    opened.store.close()


@pytest.fixture
def store(opened):
    """With empty tables."""
    client = opened.store._client()
    filled = "SELECT DISTINCT table FROM system.parts WHERE active AND database = currentDatabase()"
    for (table,) in client.query(filled).result_rows:
        client.command(f"TRUNCATE TABLE {table}")
    client.command("SYSTEM START MERGES connections")
    return opened.store
