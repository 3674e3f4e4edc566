"""Who spoke, read from records of every form, and when that is too long ago."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.mail.mailer import Mailer
from exporters.mail.sender import MemorySender
from exporters.silence.notices import Notice
from exporters.silence.speakers import Speaker, heard
from pipeline.settings import Settings

NOW = 1_774_605_600_000


def record(value, at=NOW, headers=()):
    return SimpleNamespace(
        value=value if isinstance(value, bytes) else json.dumps(value).encode(), timestamp=at, headers=headers
    )


CONNECTOR = {"id": "152169", "name": "passionate-wallaby"}


@pytest.mark.parametrize(
    "value",
    [
        {"event_type": "closed_connection", "timestamp": NOW - 5, "connector": CONNECTOR},
        b"ANALYTICS " + json.dumps({"event_type": "closed_connection", "timestamp": NOW - 5, "connector": CONNECTOR}).encode(),
        {"event_type": "network_access", "event": {"time": "2026-03-27T09:59:59.995Z", "connector": CONNECTOR}},
        {"start_time": "2026-03-27 09:59:00 UTC", "end_time": "2026-03-27 09:59:59.995 UTC", "connector": CONNECTOR["name"], "connector_id": CONNECTOR["id"]},
    ],
)  # fmt: skip
def test_a_connector_is_heard_in_every_form(value):
    found = heard([record(value)], "connections")
    speaker = found["connector", "152169"]
    assert (speaker.name, speaker.event_at, speaker.heard_at) == ("passionate-wallaby", NOW - 5, NOW)
    assert found["source", "connections"].event_at == NOW - 5


def test_a_source_is_what_the_header_names():
    found = heard(
        [record({"time": "2026-03-27T10:00:00Z"}, headers=[("ce_source", b"gateway-7"), ("ce_id", b"1")])],
        "connections",
    )
    assert set(found) == {("source", "gateway-7")}


@pytest.mark.parametrize(
    "value",
    [b"", b"not json", b"[1]", b"\xff", {"connector": 7}, {"timestamp": "x"}, {"time": "yesterday"}, {"connector": {"id": None}}, b"[" * 5000,
     {"timestamp": 10**30}, {"timestamp": NOW + 10**9}],
)  # fmt: skip
def test_what_cannot_be_read_speaks_for_its_source_only(value):
    found = heard([record(value)], "connections")
    assert set(found) == {("source", "connections")}
    assert found["source", "connections"].event_at == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6)), min_size=1, max_size=50))
def test_the_newest_of_many_records_counts(said):
    records = [
        record({"timestamp": NOW - ago, "connector": {"id": str(who)}}, at=NOW + n) for n, (who, ago) in enumerate(said)
    ]
    found = heard(records, "connections")
    for who in {w for w, _ in said}:
        speaker = found["connector", str(who)]
        assert speaker.event_at == max(NOW - ago for w, ago in said if w == who)
        assert speaker.heard_at == max(NOW + n for n, (w, _) in enumerate(said) if w == who)
        assert speaker.sightings == 1


def speaker(heard_at, *, sightings, first=0):
    return Speaker("connector", "c", "", 0, heard_at, first, sightings)


def test_silence_is_longer_than_the_setting():
    one = speaker(1_000_000, sightings=50, first=500_000)
    assert not one.silent(1_060_000, limit_ms=60_000, everything_read=True)
    assert one.silent(1_060_001, limit_ms=60_000, everything_read=True)


def test_where_records_were_left_out_a_rare_speaker_is_given_its_usual_pauses():
    rare = speaker(1_000_000, sightings=11, first=0)  # seen every 100 s
    assert rare.silent(1_100_000, limit_ms=60_000, everything_read=True)
    assert not rare.silent(2_900_000, limit_ms=60_000, everything_read=False)
    assert rare.silent(3_000_001, limit_ms=60_000, everything_read=False)


def test_a_notice_is_one_mail_however_often_it_is_told(tmp_path):
    notice = Notice("connector", "152169", "passionate-wallaby", NOW, NOW - 5, True)
    mailer = Mailer(Settings(data=tmp_path), MemorySender())
    context = {"source": notice.title, "lines": notice.lines(), "link": "http://127.0.0.1/overview"}
    first, second = (mailer.message("silence", ["ops@example.com"], context, notice.key) for _ in range(2))
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Subject"] == "Nothing heard from connector passionate-wallaby (152169)"
    assert "since 2026-03-27T10:00:00.000Z" in first.get_body(("plain",)).get_content()
    assert notice._replace(heard_at=NOW + 1).key != notice.key
