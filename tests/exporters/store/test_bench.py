"""What the measurement measures is right: its report equals a plain count of its rows."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter

import pytest

from deploy.bench_report import DAY_MS, START_MS, fill
from exporters.reports.build import ACTIVE_KIND, Parameters, build
from exporters.store.store import Store

pytestmark = pytest.mark.xdist_group("store")


class Kept:
    def __init__(self, store):
        self.store, self.rows = store, []

    def insert(self, table, rows):
        self.store.insert(table, rows)
        self.rows += rows.to_pylist()


def test_the_measured_report_equals_a_plain_count_of_its_rows(tmp_path):
    store = Store.open(f"chdb://{tmp_path / 'store'}", memory_bytes=100_000_000)
    try:
        kept = Kept(store)
        assert fill(kept, users=30, days=9) == 30 * 12 * 9
        ask = Parameters(from_ms=START_MS + DAY_MS, to_ms=START_MS + 8 * DAY_MS, gzip=True, device_days=2)
        until = START_MS + 9 * DAY_MS
        built = build(store, ACTIVE_KIND, ask, asked_at_ms=until - 1, path=tmp_path / "report")
    finally:
        store.close()
    got = list(csv.DictReader(io.StringIO(gzip.decompress((tmp_path / "report").read_bytes()).decode(), newline="")))
    assert built.written.rows == len(got) == 30
    for row in got:
        mine = [r for r in kept.rows if r["email"] == row["user_email"]]
        inside = [r for r in mine if ask.from_ms <= r["bucket"].timestamp() * 1000 < ask.to_ms]
        recent = [r for r in mine if until - 900_000 - 2 * DAY_MS <= r["bucket"].timestamp() * 1000]
        counts = Counter()
        for r in inside:
            for address, n in r["client_ips"]:
                counts[address] += n
        assert int(row["success_connections"]) == sum(r["success"] for r in inside)
        assert int(row["failed_connections"]) == sum(r["failed_dns"] + r["failed_other"] for r in inside)
        assert int(row["total_bytes"]) == sum(r["bytes_transferred"] + r["bytes_received"] for r in inside)
        assert int(row["num_of_client_ip"]) == len(counts) > 10
        assert row["top_10_client_ips"].split() == sorted(counts, key=lambda a: (-counts[a], a))[:10]
        assert int(row["active_devices"]) == len({d for r in recent for d in r["devices"]})
