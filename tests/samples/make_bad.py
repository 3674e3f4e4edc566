"""Write tests/samples/bad: one file per record that can never be an event, and what it must be refused with."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).with_name("bad")
T = 1774605600000
LOG = {"event_type": "closed_connection", "timestamp": T, "user": {"id": "1"}}
S3 = {"time": "2026-03-27T10:00:00Z", "status": "closed_connection", "user": {"id": "1"}}
ROW = {
    "start_time": "2026-03-27 10:00:00.0 UTC",
    "end_time": "2026-03-27 10:00:01.5 UTC",
    "status": "NORMAL",
    "user": "a@x.example",
}
AUTH = {"time": "2026-03-27T10:00:00Z", "action": {"type": "reauth", "user": {"id": "1"}}}


def j(base: dict, **change) -> bytes:
    return json.dumps({**base, **change}).encode()


def a(**change) -> bytes:
    return j(AUTH, action={**AUTH["action"], **change})


def c(**connection) -> bytes:
    return j(LOG, connection=connection)


CASES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "not_json", "$"),
    "blank": (b"  \n", "not_json", "$"),
    "truncated": (j(LOG)[:-9], "not_json", "$"),
    "trailing": (j(LOG) + b" x", "not_json", "$"),
    "two-values": (j(LOG) + j(LOG), "not_json", "$"),
    "nan": (b'{"event_type":"closed_connection","timestamp":NaN,"user":{"id":"1"}}', "not_json", "$"),
    "infinity": (b'{"event_type":"closed_connection","timestamp":Infinity,"user":{"id":"1"}}', "not_json", "$"),
    "single-quotes": (b"{'event_type':'closed_connection'}", "not_json", "$"),
    "comment": (b'{"a":1} // note', "not_json", "$"),
    "bom": (b"\xef\xbb\xbf" + j(LOG), "not_json", "$"),
    "bare-word": (b"ANALYTICS", "not_json", "$"),
    "surrogate": (
        b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"\\ud800"}}',
        "not_json",
        "$",
    ),
    "binary": (bytes(range(256)), "not_utf8", "$"),
    "latin-1": (
        b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"J\xfcrgen"}}',
        "not_utf8",
        "$",
    ),
    "latin-1-in-unknown": (
        b'{"x":"\xfc","event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"}}',
        "not_utf8",
        "$",
    ),
    "latin-1-in-a-key": (
        b'{"\xfc":1,"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"}}',
        "not_utf8",
        "$",
    ),
    "array": (b"[" + j(LOG) + b"]", "unknown_type", "$"),
    "string": (b'"closed_connection"', "unknown_type", "$"),
    "number": (b"17", "unknown_type", "$"),
    "null": (b"null", "unknown_type", "$"),
    "object": (b"{}", "unknown_type", "$"),
    "dns-filtering": (b'{"event_type":"dns_filtering","event":{"time":"2026-03-27T10:00:00Z"}}', "unknown_type", "$"),
    "envelope-of-text": (b'{"event_type":"network_access","event":"x"}', "unknown_type", "$"),
    "state-in-capitals": (j(LOG, event_type="CLOSED_CONNECTION"), "unknown_type", "$"),
    "state-as-number": (j(LOG, event_type=4), "unknown_type", "$"),
    "csv-without-user": (json.dumps({k: v for k, v in ROW.items() if k != "user"}).encode(), "unknown_type", "$"),
    "deep-33": (b'{"x":' + b"[" * 32 + b"]" * 32 + b"," + j(LOG)[1:], "too_deep", "$"),
    "deep-10000": (b"[" * 10_000 + b"]" * 10_000, "too_deep", "$"),
    "sign-in-on-connections": (j(AUTH), "wrong_topic", "$"),
    "enveloped-sign-in-on-connections": (
        json.dumps({"event_type": "authentication", "event": AUTH}).encode(),
        "wrong_topic",
        "$",
    ),
    "broken-sign-in-on-connections": (a(type="dance"), "wrong_type", "$.action.type"),
    "no-timestamp": (
        json.dumps({k: v for k, v in LOG.items() if k != "timestamp"}).encode(),
        "missing_field",
        "$.timestamp",
    ),
    "null-timestamp": (j(LOG, timestamp=None), "missing_field", "$.timestamp"),
    "text-timestamp": (j(LOG, timestamp=str(T)), "wrong_type", "$.timestamp"),
    "float-timestamp": (j(LOG, timestamp=T + 0.5), "wrong_type", "$.timestamp"),
    "true-timestamp": (j(LOG, timestamp=True), "wrong_type", "$.timestamp"),
    "seconds": (j(LOG, timestamp=T // 1000), "bad_time", "$.timestamp"),
    "microseconds": (j(LOG, timestamp=T * 1000), "bad_time", "$.timestamp"),
    "negative-timestamp": (j(LOG, timestamp=-1), "bad_time", "$.timestamp"),
    "huge-timestamp": (j(LOG, timestamp=2**70), "out_of_range", "$.timestamp"),
    "no-user": (json.dumps({k: v for k, v in LOG.items() if k != "user"}).encode(), "missing_field", "$.user"),
    "empty-user": (j(LOG, user={}), "missing_field", "$.user"),
    "null-user": (j(LOG, user=None), "missing_field", "$.user"),
    "blank-user": (j(LOG, user={"id": "", "email": None}), "missing_field", "$.user"),
    "user-as-text": (j(LOG, user="x@x.example"), "wrong_type", "$.user"),
    "user-id-as-number": (j(LOG, user={"id": 1}), "wrong_type", "$.user.id"),
    "email-as-list": (j(LOG, user={"email": ["x"]}), "wrong_type", "$.user.email"),
    "last-of-two-keys": (j(LOG)[:-1] + b',"timestamp":"x"}', "wrong_type", "$.timestamp"),
    "connection-as-list": (j(LOG, connection=[]), "wrong_type", "$.connection"),
    "rx-text": (c(rx="1"), "wrong_type", "$.connection.rx"),
    "rx-float": (c(rx=1.0), "wrong_type", "$.connection.rx"),
    "rx-negative": (c(rx=-1), "out_of_range", "$.connection.rx"),
    "tx-2-to-63": (c(tx=2**63), "out_of_range", "$.connection.tx"),
    "tx-2-to-70": (c(tx=2**70), "out_of_range", "$.connection.tx"),
    "duration-true": (c(duration=True), "wrong_type", "$.connection.duration"),
    "tunnel-number": (c(tunnel_path=1), "wrong_type", "$.connection.tunnel_path"),
    "message-object": (c(error_message={}), "wrong_type", "$.connection.error_message"),
    "ip-number": (c(client_ip=1), "wrong_type", "$.connection.client_ip"),
    "ip-three-parts": (c(client_ip="1.2.3"), "bad_address", "$.connection.client_ip"),
    "ip-port": (c(client_ip="1.2.3.4:99999"), "bad_address", "$.connection.client_ip"),
    "ip-host": (c(client_ip="host.example"), "bad_address", "$.connection.client_ip"),
    "ip-six": (c(client_ip="::g"), "bad_address", "$.connection.client_ip"),
    "ip-zone": (c(client_ip="fe80::1%eth0"), "bad_address", "$.connection.client_ip"),
    "device-number": (j(LOG, device={"id": 5}), "wrong_type", "$.device.id"),
    "connector-list": (j(LOG, connector=[]), "wrong_type", "$.connector"),
    "relays-object": (j(LOG, relays={}), "wrong_type", "$.relays"),
    "location-object": (j(LOG, location={}), "wrong_type", "$.location"),
    "s3-time-local": (j(S3, time="2026-03-27T10:00:00"), "bad_time", "$.time"),
    "s3-time-date": (j(S3, time="2026-03-27"), "bad_time", "$.time"),
    "s3-time-february-30": (j(S3, time="2026-02-30T10:00:00Z"), "bad_time", "$.time"),
    "s3-time-1979": (j(S3, time="1979-12-31T23:59:59.999Z"), "bad_time", "$.time"),
    "s3-time-number": (j(S3, time=T), "wrong_type", "$.time"),
    "s3-time-null": (j(S3, time=None), "missing_field", "$.time"),
    "s3-status": (j(S3, status="melted"), "wrong_type", "$.status"),
    "s3-port": (j(S3, resource={"port": -1}), "out_of_range", "$.resource.port"),
    "s3-enveloped": (
        json.dumps({"event_type": "network", "event": {**S3, "time": "x"}}).encode(),
        "bad_time",
        "$.event.time",
    ),
    "s3-enveloped-no-status": (
        b'{"event_type":"network","event":{"time":"2026-03-27T10:00:00Z","user":{"id":"1"}}}',
        "missing_field",
        "$.event.status",
    ),
    "csv-status": (j(ROW, status="FINE"), "wrong_type", "$.status"),
    "csv-time": (j(ROW, end_time="27.3.2026"), "bad_time", "$.end_time"),
    "csv-no-time": (j(ROW, start_time="", end_time=""), "missing_field", "$.start_time"),
    "csv-bytes": (j(ROW, bytes_received="many"), "wrong_type", "$.bytes_received"),
    "csv-bytes-negative": (j(ROW, bytes_received="-4"), "out_of_range", "$.bytes_received"),
    "csv-number": (j(ROW, bytes_received=4), "wrong_type", "$.bytes_received"),
    "csv-nobody": (j(ROW, user=""), "missing_field", "$.user"),
}


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for name, (value, _, _) in CASES.items():
        (HERE / f"{name}.bin").write_bytes(value)
    manifest = {f"{name}.bin": {"reason": reason, "path": path} for name, (_, reason, path) in CASES.items()}
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
