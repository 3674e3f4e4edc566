"""Records to documents: the same records are the same bytes, every event has its line in the vendor's form, and every offset its place in the counts."""

from __future__ import annotations

import base64
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from exporters.sync import cuts, envelopes, keys
from exporters.sync.batches import Batch, Former, Place, attempt_of, cut_of
from exporters.sync.destinations import parse
from pipeline.model.dialects import decode_authentications, decode_connections
from pipeline.model.events import Rejected
from pipeline.model.verdicts import Verdicts
from tests.streams import Stream

NOW = 1_774_605_600_000
DECODE = {"authentication": decode_authentications, "network_access": decode_connections}
ROLES = {"authentication": "authentications", "network_access": "connections"}


def records(kind: str, count: int = 2_000, start: int = 0):
    lines = [x for x in Stream(8, start_ms=NOW).lines(count) if x.topic == ROLES[kind]]
    return [
        SimpleNamespace(offset=start + n, value=x.value, headers=x.headers, timestamp=NOW + n * 1000, partition=2)
        for n, x in enumerate(lines)
    ]


def batches(kind: str, given, **settings):
    """All of them, cut as the lane cuts them, the lists split at random."""
    destination = parse("d", {"target": "/x", **settings})
    former, rng, out = Former(kind, destination), random.Random(3), []
    verdicts = former.verdicts()
    batch, waiting, given = Batch(0, 0), [], list(given)
    while given or waiting:
        if not waiting:
            n = rng.randint(1, 90)
            piece, given = given[:n], given[n:]
            waiting = list(zip(piece, verdicts(piece), strict=True))
        taken = former.take(batch, *zip(*waiting, strict=True))
        waiting = waiting[taken:]
        if batch.full:
            out.append(batch)
            batch = Batch(batch.end, batch.end)
    return destination, [*out, batch] if not batch.empty else out


def documents(kind: str, given, **settings):
    destination, made = batches(kind, given, **settings)
    place = Place(kind, "1a2b3c4d", 2)
    return [cut_of(b, place, destination, hour=0, window=0, begun=False, at=NOW) for b in made]


@pytest.mark.parametrize("kind", ["authentication", "network_access"])
@pytest.mark.parametrize("settings", [{}, {"compression": "zstd"}, {"format": "ocsf"}, {"naming": "vendor"}], ids=str)
def test_the_same_records_are_the_same_bytes_whenever_and_however_they_come(kind, settings):
    given = records(kind, 600)
    made = documents(kind, given, cut_events=200, **settings)
    destination = parse("d", {"target": "/x", "cut_events": 7, **settings})
    for cut, first in made:
        batch, verdicts = Batch(cut.first, cut.first), Verdicts(DECODE[kind])
        verdicts.recall(given[: cut.first])
        inside = given[cut.first : cut.end]
        Former(kind, destination).take(batch, inside, verdicts(inside), limit=cut.end)
        attempt, again = attempt_of(batch, cut, Place(kind, "1a2b3c4d", 2), destination)
        assert attempt == cut.attempt
        assert {k: d.body for k, d in again.items()} == {k: d.body for k, d in first.items()}


def test_the_bytes_do_not_depend_on_the_process():
    """Another process, another hash seed, another time zone: the same digests."""
    code = (
        "from tests.exporters.sync.test_batches import *\n"
        "print([d.sha256 for k in DECODE for _, m in documents(k, records(k, 400), cut_events=90) for d in m.values()])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Kathmandu"))
    }
    assert len(said) == 1


def test_the_moment_in_the_bytes_is_noticed(monkeypatch):
    from exporters.sync import batches as module

    ticks = iter(range(10**6))
    pack = module.pack
    monkeypatch.setattr(module, "pack", lambda lines, packed: pack(lines + b"%d\n" % next(ticks), packed))
    with pytest.raises(AssertionError):
        test_the_same_records_are_the_same_bytes_whenever_and_however_they_come("authentication", {})


@pytest.mark.parametrize("kind", ["authentication", "network_access"])
def test_every_offset_has_its_place_and_every_event_its_line(kind):
    given = [r for r in records(kind) if r.offset % 50]  # with holes, as control records leave them
    at = 0
    verdicts = Verdicts(DECODE[kind])(given)
    lines = []
    for cut, made in documents(kind, given, cut_events=100):
        attempt = cut.attempt
        assert cut.first == at
        at = cut.end
        counted = sum(p.lines for p in attempt.parts) + attempt.duplicates + attempt.filtered + attempt.gaps
        assert counted == cut.end - cut.first
        if attempt.events is not None:
            text = gzip.decompress(made[attempt.events.key].body)
            assert text.endswith(b"\n")
            lines += [json.loads(x) for x in text.splitlines()]
    assert at == given[-1].offset + 1
    assert len(lines) == sum(v is not None and not isinstance(v, Rejected) for v in verdicts)
    assert all(set(x) == {"event_type", "event"} for x in lines)


@pytest.mark.parametrize("kind", ["authentication", "network_access"])
def test_what_goes_out_comes_in_again_as_the_same_event(kind):
    for record in records(kind):
        event = DECODE[kind]([record])[0]
        if isinstance(event, Rejected):
            continue
        line = envelopes.line_of(kind)(record.value, event)
        assert b"\n" not in line
        again = DECODE[kind]([SimpleNamespace(value=line, timestamp=record.timestamp)])[0]
        for name in event.__struct_fields__:
            if name not in ("id", "form"):
                assert getattr(again, name) == getattr(event, name), (name, record.value, line)


def test_a_connectors_line_is_told_in_the_s3_form():
    log = {
        "event_type": "closed_connection",
        "timestamp": 1694779427692,
        "connection": {
            "id": "2139eb38", "client_ip": "203.0.113.7", "protocol": "udp", "resource_ip": "10.0.0.5", "resource_port": 443,
            "duration": 30124, "rx": 8310, "tx": 5513, "tunnel_path": "relayed", "tunnel_proto": "quic/udp", "cbct_freshness": 183, "error_message": None,
        },
        "connector": {"id": "152169", "name": "passionate-wallaby"},
        "device": {"id": "200830"},
        "user": {"email": "x@example.com", "id": "113312"},
        "remote_network": {"id": "64894", "name": "vectortest"},
        "resource": {"address": "whatsmyip.com", "applied_rule": "whatsmyip.com", "id": "2326772"},
        "relays": [{"ip": "192.0.2.1", "name": "relay", "port": 30010}],
        "location": '{"geoip":{"lat":39.84,"lon":-100.04}}',
    }  # fmt: skip
    value = json.dumps(log).encode()
    event = decode_connections([SimpleNamespace(value=value, timestamp=NOW)])[0]
    assert json.loads(envelopes.connection_line(value, event)) == {
        "event_type": "network_access",
        "event": {
            "version": 1,
            "time": "2023-09-15T12:03:47.692000+00:00",
            "status": "closed_connection",
            "connection": {
                "client_ip": "203.0.113.7", "protocol": "udp", "bytes_received": 8310, "bytes_transferred": 5513, "error_message": None,
                "id": "2139eb38", "duration": 30124, "tunnel_path": "relayed", "tunnel_proto": "quic/udp",
            },
            "connector": {"id": "152169", "name": "passionate-wallaby"},
            "remote_network": {"id": "64894", "name": "vectortest"},
            "resource": {"address": "whatsmyip.com", "applied_rule": "whatsmyip.com", "id": "2326772", "ip": "10.0.0.5", "port": 443},
            "relays": [{"ip": "192.0.2.1", "name": "relay", "port": 30010}],
            "device": {"id": "200830"},
            "user": {"email": "x@example.com", "id": "113312"},
            "location": {"lat": 39.84, "lon": -100.04},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        b'{"event_type":"authentication","event":{"time":"2026-01-15T14:30:00Z","x":[1],"action":{"type":"reauth","user":{"id":"1"}}}}',
        b'{"time":"2026-01-15T14:30:00Z","x":[1],"action":{"type":"reauth","user":{"id":"1"}}}',
        b' {"event": {"time":"2026-01-15T14:30:00Z","x":[1],\n"action":{"type":"reauth","user":{"id":"1"}}}, "event_type":"authentication"}',
    ],
)
def test_a_sign_in_keeps_all_its_fields_whatever_it_was_wrapped_in(value):
    event = decode_authentications([SimpleNamespace(value=value, timestamp=NOW)])[0]
    assert json.loads(envelopes.authentication_line(value, event)) == {
        "event_type": "authentication",
        "event": {"time": "2026-01-15T14:30:00Z", "x": [1], "action": {"type": "reauth", "user": {"id": "1"}}},
    }


def test_a_reason_of_its_own_becomes_unknown_and_stays_as_detail():
    value = b'{"time":"2026-01-15T14:30:00Z","action":{"type":"reauth","result":"failure","reason":"odd","user":{"id":"1"}}}'
    event = decode_authentications([SimpleNamespace(value=value, timestamp=NOW)])[0]
    action = json.loads(envelopes.authentication_line(value, event))["event"]["action"]
    assert (action["reason"], action["detail"]) == ("unknown", "odd")


def test_rejects_lie_apart_with_reason_and_offset_and_their_bytes():
    given = [
        SimpleNamespace(offset=n, value=v, headers=(), timestamp=NOW, partition=2)
        for n, v in enumerate((b'{"a":1}', b"\xff\xfe", None))
    ]
    ((cut, made),) = documents("authentication", given)
    assert cut.attempt.events is None
    assert cut.attempt.rejects.key.startswith("errors/authentication/dt=2026-03-27/hour=10/1a2b3c4d-00002-")
    lines = [json.loads(x) for x in gzip.decompress(made[cut.attempt.rejects.key].body).splitlines()]
    assert [(x["offset"], x["reason"]) for x in lines] == [(0, "unknown_type"), (1, "not_utf8"), (2, "not_json")]
    assert lines[0]["value"] == '{"a":1}'
    assert base64.b64decode(lines[1]["value_base64"]) == b"\xff\xfe"


def test_a_batch_ends_at_its_limits_and_where_the_schema_changes():
    value = b'{"version":%d,"time":"2026-01-15T14:30:00Z","id":"%d","action":{"type":"reauth","user":{"id":"1"}}}'
    given = [
        SimpleNamespace(offset=n, value=value % (1 if n < 5 else 2, n), headers=(), timestamp=NOW, partition=0)
        for n in range(9)
    ]
    assert [(b.first, b.end) for b in batches("authentication", given)[1]] == [(0, 5), (5, 9)]
    assert [b.end for b in batches("authentication", given, cut_events=2)[1]] == [2, 4, 5, 7, 9]
    assert [b.end for b in batches("authentication", [*given] * 1, cut_bytes=1024)[1]] == [5, 9]


def test_version_zero_is_a_version_of_its_own():
    value = b'{"version":%d,"time":"2026-01-15T14:30:00Z","id":"%d","action":{"type":"reauth","user":{"id":"1"}}}'
    said = [0, 0, 1, 1, 0, 1]
    given = [
        SimpleNamespace(offset=n, value=value % (version, n), headers=(), timestamp=NOW, partition=0)
        for n, version in enumerate(said)
    ]
    for size in (1, 6):  # handed over one by one, and at once
        former, batch, ends = Former("authentication", parse("d", {"target": "/x"})), Batch(0, 0), []
        verdicts = former.verdicts()(given)
        while batch.end < len(given):
            upto = min(batch.end + size, len(given))
            former.take(batch, given[batch.end : upto], verdicts[batch.end : upto])
            if batch.full:
                ends.append(batch.end)
                batch = Batch(batch.end, batch.end)
        assert ends == [2, 4, 5]


def test_filters_let_through_what_is_wanted_and_count_the_rest():
    given = records("authentication", 3_000)
    everything = [v for v in Verdicts(decode_authentications)(given) if v is not None and not isinstance(v, Rejected)]
    made = documents(
        "authentication",
        given,
        types=["reauth", "admin_login"],
        results=["success"],
        users=["113001", "113002", "User3@corp.example.com"],
    )
    wanted = [
        e for e in everything
        if e.type in ("reauth", "admin_login") and e.result == "success" and (e.principal.id in ("113001", "113002") or e.principal.email == "user3@corp.example.com")
    ]  # fmt: skip
    assert sum(c.attempt.events.lines for c, _ in made if c.attempt.events) == len(wanted) > 0
    assert sum(c.attempt.filtered for c, _ in made) == len(everything) - len(wanted)


def nine_people():
    """u0 to u8, in the plainest form."""
    value = b'{"version":1,"time":"2026-01-15T14:30:00Z","id":"%d","action":{"type":"reauth","user":{"id":"u%d"}}}'
    return [SimpleNamespace(offset=n, value=value % (n, n), headers=(), timestamp=NOW, partition=0) for n in range(9)]


@pytest.mark.parametrize("end", [b"\n", b"\r"])
@pytest.mark.parametrize("head", [b"", b'{"event_type":"authentication","event":'])
def test_an_event_of_several_lines_among_plain_ones_leaves_as_one(head, end):
    given = nine_people()
    for record in given:
        record.value = head + record.value + (b"}" if head else b"")
    given[4].value = given[4].value.replace(b'"id"', end + b'"id"')
    [(cut, made)] = documents("authentication", given, compression="none")
    [document] = made.values()
    lines = document.body.split(b"\n")
    assert len(lines) == cut.attempt.events.lines + 1 == 10
    assert [json.loads(x)["event"]["action"]["user"]["id"] for x in lines[:-1]] == [f"u{n}" for n in range(9)]
    assert b"\r" not in document.body


def test_who_it_was_stands_in_every_line_of_ocsf():
    [(_, made)] = documents("authentication", nine_people(), format="ocsf", compression="none")
    [document] = made.values()
    assert [json.loads(x)["user"]["uid"] for x in document.body.splitlines()] == [f"u{n}" for n in range(9)]


def test_a_filter_by_user_knows_who_it_was():
    [(cut, _)] = documents("authentication", nine_people(), users=["U3", "u5"])
    assert (cut.attempt.events.lines, cut.attempt.filtered) == (2, 7)


def test_a_filter_by_user_lets_no_service_account_of_the_same_id_through():
    value = b'{"event_type":"closed_connection","timestamp":%d,"%b":{"id":"113312","%b":"x@example.com"}}'
    given = [
        SimpleNamespace(offset=n, value=value % (NOW, *who), headers=(), timestamp=NOW, partition=0)
        for n, who in enumerate([(b"service_account", b"name"), (b"user", b"email")])
    ]
    [(cut, made)] = documents("network_access", given, users=["113312"], compression="none")
    assert (cut.attempt.events.lines, cut.attempt.filtered) == (1, 1)
    [document] = made.values()
    assert "user" in json.loads(document.body)["event"]


def test_vendor_names_are_plain_where_that_is_safe_and_never_meet():
    destination = parse("d", {"target": "/x", "naming": "vendor", "compression": "none", "cut_events": 100})
    given = records("authentication", 4_000)
    seen, chain = [], cuts.Chain()
    chain.read(0, cuts.Cut(0, 0, cuts.START))
    for n, batch in enumerate(batches("authentication", given, naming="vendor", cut_events=100)[1]):
        place = Place("authentication", "1a2b3c4d", 0)
        cut, _ = cut_of(batch, place, destination, hour=chain.hour, window=chain.window, begun=chain.window > 0, at=NOW)
        chain.read(n + 1, cut)
        seen.append(cut.key)
    assert len(seen) == len(set(seen))
    assert seen[0] == "authentication/2026-03-27T10:05:00+00:00-1a2b3c4d-00000-00000000000000000000.json"
    assert "authentication/2026-03-27T10:10:00+00:00.json" in seen
    assert keys.vendor("authentication", "s", 3, 5, NOW, "gzip", free=True).endswith("T10:00:00+00:00-00003.json.gz")


def test_offsets_without_a_record_take_nobodys_window():
    destination, place = parse("d", {"target": "/x", "naming": "vendor"}), Place("authentication", "1a2b3c4d", 0)
    before = {"hour": keys.hour_of(NOW), "window": keys.window_of(NOW)}
    cut, made = cut_of(Batch(7, 9), place, destination, begun=True, at=NOW + keys.HOUR_MS, **before)
    assert (made, cut.attempt.gaps, cut.hour, cut.window) == ({}, 2, before["hour"], before["window"])


def test_compressed_objects_are_what_their_names_say():
    for compression, unpack in (("gzip", gzip.decompress), ("zstd", zstandard.ZstdDecompressor().decompress)):
        ((cut, made),) = documents("authentication", records("authentication", 100), compression=compression)
        body = made[cut.attempt.events.key].body
        assert unpack(body).count(b"\n") == cut.attempt.events.lines
