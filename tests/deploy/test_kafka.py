"""Starts of Kafka on this machine: the second one is quicker, and nothing half written is ever read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.local import kafka
from deploy.local.stack import Stack


@pytest.mark.live
def test_classes_of_a_broker_that_stopped_cleanly_are_read_by_the_next(tmp_path):
    with Stack(tmp_path / "first", servers_only=True):
        pass
    again = " ".join(kafka.command(tmp_path / "second", port=1, controller=2))
    archive = Path(re.search(r"-XX:(?:SharedArchiveFile|AOTCache)=(\S+)", again)[1])
    assert archive.parent == kafka.cache()
    assert archive.stat().st_size > 10_000_000
    assert not list((tmp_path / "first" / "kafka").glob(kafka.CLASSES))


def test_what_a_killed_broker_left_is_thrown_away(tmp_path):
    left = tmp_path / "kafka-0.classes"
    left.write_bytes(b"half")
    kafka.command(tmp_path, port=1, controller=2)
    assert not left.exists()


def test_kept_classes_appear_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kafka.cache().mkdir(parents=True)
    written = tmp_path / "kafka-0.classes"
    written.write_bytes(b"whole")
    kafka.keep_classes(tmp_path)
    assert [f.name for f in kafka.cache().iterdir()] == ["kafka-0.classes"]
    assert (kafka.cache() / "kafka-0.classes").read_bytes() == b"whole"
    assert not written.exists()
