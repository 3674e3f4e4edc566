"""Every way in which bytes can fail to be an event, and the forms that are one."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model import addresses, dialects
from pipeline.model.dialects import (
    decode_authentication,
    decode_authentications,
    decode_connection,
    decode_connections,
)
from pipeline.model.events import UNASKED, Reason, Rejected
from pipeline.model.rollups import ConnectionRollup
from tests.streams import Stream

BAD = Path(__file__).parents[2] / "samples" / "bad"
MANIFEST = json.loads((BAD / "manifest.json").read_text())
NOW = 1_774_700_000_000


class Record(NamedTuple):
    value: bytes | None
    timestamp: int = NOW


@pytest.mark.parametrize("name", MANIFEST)
def test_a_bad_record_is_refused_with_its_reason_and_path(name):
    [refused] = decode_connections([Record((BAD / name).read_bytes())])
    assert {"reason": refused.reason.value, "path": refused.path} == MANIFEST[name]


def test_whoever_does_not_ask_who_it_was_gets_the_same_outcomes_otherwise():
    value = b'{"time":"2026-03-27T10:00:00Z","action":{"type":"reauth","user":%b,"client_ip":"%b"}}'
    people = (
        b'{"id":"7"}',
        b'{"email":"A@x.example"}',
        b'{"id":"7","email":"b@x.example"}',
        b'{"id":"","email":null}',
        b"{}",
    )
    plain = [value % (user, ip) for user in people for ip in (b"", b"10.0.0.1", b"10.0.0.300")]
    mixed = [x.value for x in Stream(8, start_ms=NOW).lines(1_000)]
    given = [Record(v) for v in (*plain, *mixed, *((BAD / name).read_bytes() for name in MANIFEST), None)]
    asked, unasked = decode_authentications(given), decode_authentications(given, who=False)
    assert [without_who(e) for e in asked] == [without_who(e) for e in unasked]
    assert [e.principal == UNASKED for e in unasked[:6] if not isinstance(e, Rejected)] == [True] * 4
    assert {e.path for e in unasked[9:15]} == {"$.action.user"}


def without_who(event):
    if isinstance(event, Rejected):
        return event.reason, event.path
    return msgspec.structs.replace(event, principal=UNASKED)


@pytest.mark.parametrize("decode", [decode_connections, decode_authentications])
def test_a_record_without_a_value_is_not_json(decode):
    [refused] = decode([Record(None)])
    assert (refused.reason, refused.path) == (Reason.NOT_JSON, "$")


def test_every_reason_is_reachable():
    large = {Reason.TOO_LARGE.value}
    assert {m["reason"] for m in MANIFEST.values()} | large == {r.value for r in Reason}


def test_a_value_over_256_kib_is_too_large():
    value = b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"},"x":"%b"}'
    fits = value % (b"y" * (dialects.MAX_VALUE_BYTES - len(value) + 2))
    fine, refused = decode_connections([Record(fits), Record(fits.replace(b"yy", b"yyy", 1))])
    assert fine.outcome == "success"
    assert refused.reason is Reason.TOO_LARGE


def test_nesting_of_32_is_fine_and_brackets_in_text_do_not_nest():
    head = b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"},'
    assert decode_connection(head + b'"x":' + b"[" * 31 + b"]" * 31 + b"}", NOW)
    assert decode_connection(head + b'"x":"' + b"[{" * 50 + b'\\"[[["}', NOW)


def test_a_connection_on_the_authentications_topic_is_wrong():
    with pytest.raises(Rejected, match="wrong_topic"):
        decode_authentication(b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"}}', NOW)


@given(st.dictionaries(st.sampled_from(["event_type", "timestamp", "user", "connection", "device", "relays", "id", "x"]), st.sampled_from([
    None, "closed_connection", "established_connection", "failed_to_connect", "network", 1_774_605_600_000, -1, 2**64, 1.5, True, [], {}, [{"ip": "1.1.1.1"}],
    {"id": "1"}, {"id": "1", "email": "A@x.example"}, {"id": 1}, {"rx": 5, "tx": None, "client_ip": "[::1]:5", "tunnel_path": "direct"}, {"client_ip": "x"}, "text",
])))  # fmt: skip
def test_the_fast_way_and_the_exact_way_agree(document):
    value = json.dumps(document).encode()

    def outcome(decode):
        try:
            return decode(value, NOW)
        except Rejected as rejected:
            return rejected.reason, rejected.path

    def quick(value, timestamp):
        [event] = decode_connections([Record(value, timestamp)])
        return (event.reason, event.path) if isinstance(event, Rejected) else event

    assert outcome(quick) == outcome(decode_connection) == outcome(dialects._decode_any)


counts = st.dictionaries(st.text(max_size=3), st.integers(1, 9), max_size=3)
rollups = st.builds(
    ConnectionRollup,
    **dict.fromkeys(["success", "failed_dns", "bytes_received", "last_access"], st.integers(0, 99)),
    client_ips=counts,
    devices=counts,
)


@given(rollups, rollups, rollups)
def test_merging_is_associative_commutative_and_has_a_zero(a, b, c):
    def merged(*parts):
        total = ConnectionRollup()
        for part in parts:
            total.merge(part)
        return msgspec.to_builtins(total)

    assert merged(a, b, c) == merged(c, a, b)
    ab = msgspec.convert(merged(a, b), ConnectionRollup)
    assert merged(ab, c) == merged(a, b, c)
    assert merged(a, ConnectionRollup()) == merged(a)


@given(st.text("0123456789. :", max_size=16) | st.from_regex(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", fullmatch=True))
def test_what_the_system_takes_for_an_address_is_one(text):
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return
    assert addresses.canonical(text) == text
