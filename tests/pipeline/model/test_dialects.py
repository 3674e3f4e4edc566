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

from exporters.sync.envelopes import authentication_line, connection_line
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


def test_a_text_that_never_ends_is_judged_at_once():
    """Each of its quotes may begin a text: who tries them all takes minutes, in which the worker loses its partitions."""
    [refused] = decode_connections([Record(b"{" * 33 + b'"' + b'\\"' * 131_000)])
    assert refused.reason is Reason.TOO_DEEP


FORMS = {
    "log": b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"},"connection":{"id":"c"}%b}',
    "S3": b'{"event_type":"network_access","event":{"time":"2026-03-27T10:00:00Z","status":"closed_connection","user":{"id":"1"}%b}}',
    "S3, spaced": b'{"event_type": "network_access", "event": {"time":"2026-03-27T10:00:00Z","status":"closed_connection","user":{"id":"1"}%b}}',
    "S3, bare": b'{"time":"2026-03-27T10:00:00Z","status":"closed_connection","user":{"id":"1"}%b}',
    "sign-in": b'{"time":"2026-03-27T10:00:00Z","action":{"type":"reauth","user":{"id":"1"}}%b}',
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("unknown", "fine"),
    [
        (b"1", True),
        (b"1e999", True),
        (b"-1e999", True),
        (b"9" * 30, True),
        (b"9" * 5_000, True),
        (b'"\\ud800"', False),
        (b"NaN", False),
        (b"01", False),
        (b'"\\q"', False),
        (b'{"x":1e999,"y":"\\ud800"}', False),
    ],
    ids=lambda v: v[:12].decode() if isinstance(v, bytes) else "",
)
def test_an_unknown_field_is_ignored_in_every_form_or_no_json_in_every_form(form, unknown, fine):
    value = FORMS[form] % (b',"new":' + unknown)
    decode = decode_authentications if form == "sign-in" else decode_connections
    [event] = decode([Record(value)])
    if not fine:
        assert (event.reason, event.path) == (Reason.NOT_JSON, "$")
        return
    assert event.principal.id == "1"
    line = authentication_line(value, event) if form == "sign-in" else connection_line(value, event)
    assert json.loads(line, parse_int=str)["event"]


def test_what_a_connector_writes_before_its_json_may_still_be_there():
    value = FORMS["log"] % b""
    plain, prefixed = decode_connections([Record(value), Record(b"ANALYTICS " + value)])
    assert plain == prefixed
    assert connection_line(b"ANALYTICS " + value, prefixed) == connection_line(value, plain)


@pytest.mark.parametrize("unknown", [b"", b',"new":1'])
def test_what_stands_twice_before_it_is_no_json(unknown):
    [refused] = decode_connections([Record(b"ANALYTICS ANALYTICS " + FORMS["log"] % unknown)])
    assert (refused.reason, refused.path) == (Reason.NOT_JSON, "$")


RESOLVED_NOT = """
lookup foo.int on 10.0.0.2:53: server misbehaving
lookup foo.int on 10.0.0.2:53: read udp 10.0.0.9:4711->10.0.0.2:53: i/o timeout
dial tcp: lookup foo.int: no such host
Name does not resolve
No address associated with hostname
unable to resolve host foo
getaddrinfo ENOTFOUND foo
net::ERR_NAME_NOT_RESOLVED
Domain name not found
failed to lookup address information: Try again
*** Can't find foo: Non-existent domain
Host foo could not be resolved
DNSError: 12
dns_lookup_failed
DNS query timed out
failed: DNS
EAI_AGAIN
Temporary failure in name resolution
NXDOMAIN
"""
RESOLVED = """
dial tcp dns.example.com:443: connect: connection refused
TLS handshake with dns.google failed: certificate expired
connect to primary-dns:53 timed out
dns:53 refused
policy lookup failed
i/o timeout
"""


@pytest.mark.parametrize(
    ("message", "outcome"),
    [(m, "failed_dns") for m in RESOLVED_NOT.split("\n")[1:-1]]
    + [(m, "failed_other") for m in RESOLVED.split("\n")[1:-1]],
)
def test_whether_a_name_did_not_resolve_is_read_from_the_message(message, outcome):
    value = {"event_type": "failed_to_connect", "timestamp": NOW, "user": {"id": "1"}}
    value["connection"] = {"error_message": message}
    assert decode_connection(json.dumps(value).encode(), NOW).outcome == outcome


@pytest.mark.parametrize(
    "message", ["dns " * 60_000, "error " * 40_000, "lookup " * 35_000, "lookup " + "x" * 200_000], ids=lambda m: m[:14]
)
def test_a_long_message_is_read_at_once(message):
    value = json.dumps(
        {
            "event_type": "failed_to_connect",
            "timestamp": NOW,
            "user": {"id": "1"},
            "connection": {"error_message": message},
        }
    )
    assert decode_connection(value.encode(), NOW).outcome == "failed_other"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9" * 5_000, Reason.OUT_OF_RANGE),
        ("-1", Reason.OUT_OF_RANGE),
        ("1.5", Reason.WRONG_TYPE),
        ("0" * 5_000 + "7", None),
    ],
    ids=lambda v: str(v)[:12],
)
def test_a_rows_bytes_of_any_length_are_judged(text, reason):
    row = {"start_time": "2026-03-27 10:00:00 UTC", "status": "NORMAL", "user": "a@x.example", "bytes_received": text}
    [event] = decode_connections([Record(json.dumps(row).encode())])
    assert (event.reason if reason else event.bytes_received) == (reason or 7)


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
