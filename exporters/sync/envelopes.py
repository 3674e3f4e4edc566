"""Events as they leave: one line each, in the vendor's envelope `{"event_type":…,"event":…}`.  Pure: same value, same line.

What came in the vendor's own S3 form goes out as it came, byte for byte where possible; a connector's log line and a row of the console's CSV are
told in that form.  A sign-in keeps all its fields, only its reason is made one of the fixed list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pipeline.model import times
from pipeline.model.dialects import STATES, authentication_document, document_of
from pipeline.model.events import BARE, ENVELOPED, USER, Authentication, Connection, Event

AUTHENTICATION, NETWORK_ACCESS = "authentication", "network_access"
Line = Callable[[bytes, Any], bytes]

_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode

_BEFORE, _AFTER = b'{"event_type":"authentication","event":', b"}"
_NETWORK = (
    b'{"event_type":"network_access","event":{',
    b'{"event_type": "network_access", "event": {',
    b'{"event_type":"network","event":{',
    b'{"event_type": "network", "event": {',
)


def authentication_line(value: bytes, event: Authentication) -> bytes:
    """The line of a valid sign-in."""
    if event.form and b"\n" not in value and b"\r" not in value:
        return value if event.form == ENVELOPED else _BEFORE + value + _AFTER
    return dumps(authentication_document(value))


def authentication_lines(values: Sequence[bytes], events: Sequence[Authentication]) -> bytes:
    """The lines of many, each with its end: the same as one by one, but those that all come in one form are not looked at one by one."""
    forms = {event.form for event in events}
    if forms == {BARE}:
        between = _AFTER + b"\n" + _BEFORE
    elif forms == {ENVELOPED}:
        between = b"\n"
    else:
        return each(authentication_line, values, events)
    whole = b"".join(values)  # to look through once; counting the ends of the lines would take twice as long
    if b"\n" in whole or b"\r" in whole:
        return each(authentication_line, values, events)
    text = between.join(values)
    return b"".join((_BEFORE, text, _AFTER, b"\n") if forms == {BARE} else (text, b"\n"))


def connection_line(value: bytes, event: Connection) -> bytes:
    """The line of a valid connection event."""
    if value.startswith(_NETWORK) and b"\n" not in value and b"\r" not in value:
        return value
    return dumps(network_document(value, event))


def network_document(value: bytes, event: Connection) -> dict[str, Any]:
    """A valid connection event of any dialect in the S3 form, in its envelope."""
    document = document_of(value)
    kind = document.get("event_type")
    if isinstance(kind, str) and kind in STATES:
        return {"event_type": NETWORK_ACCESS, "event": _of_log(document, event)}
    if isinstance(kind, str) and kind in ("network_access", "network") and isinstance(document.get("event"), dict):
        return {"event_type": kind, "event": document["event"]}
    if "status" in document and "time" in document:
        return {"event_type": NETWORK_ACCESS, "event": document}
    return {"event_type": NETWORK_ACCESS, "event": _of_row(document, event)}


def _of_log(log: dict[str, Any], event: Connection) -> dict[str, Any]:
    connection = log.get("connection") or {}
    resource = log.get("resource")
    out: dict[str, Any] = {"version": 1}
    if log.get("id"):
        out["id"] = log["id"]
    out["time"] = vendor_time(event.time)
    out["status"] = log["event_type"]
    told = {"client_ip": connection.get("client_ip"), "protocol": connection.get("protocol")}
    told["bytes_received"], told["bytes_transferred"] = connection.get("rx"), connection.get("tx")
    told["error_message"] = connection.get("error_message")
    told |= {n: connection[n] for n in ("id", "duration", "tunnel_path", "tunnel_proto") if n in connection}
    out["connection"] = told
    for name in ("connector", "remote_network"):
        if name in log:
            out[name] = log[name]
    if resource is not None or "resource_ip" in connection or "resource_port" in connection:
        out["resource"] = {
            **(resource or {}),
            "ip": connection.get("resource_ip"),
            "port": connection.get("resource_port"),
        }
    for name in ("relays", "device", "user", "service_account"):
        if name in log:
            out[name] = log[name]
    if (place := _place(log.get("location"))) is not None:
        out["location"] = place
    return out


def _place(location: Any) -> dict[str, Any] | None:
    """What a connector writes as JSON in a text, as the object it is; None if it is not."""
    if not isinstance(location, str) or not location:
        return None
    try:
        found = _any.decode(location)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    inner = found.get("geoip", found) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else None


_ROW_STATUS = {
    "NORMAL": "closed_connection",
    "DNS_ERROR": "failed_to_connect",
    "CONNECTION_FAILED": "failed_to_connect",
}


def _of_row(row: dict[str, Any], event: Connection) -> dict[str, Any]:
    status = row["status"]
    out: dict[str, Any] = {"version": 1}
    if row.get("id"):
        out["id"] = row["id"]
    out["time"] = vendor_time(event.time)
    if row.get("start_time"):
        out["start_time"] = vendor_time(times.parse(row["start_time"])) if _instant(row["start_time"]) else None
    out["status"] = _ROW_STATUS[status]
    out["connection"] = {
        "client_ip": row.get("client_ip") or None,
        "protocol": row.get("protocol") or None,
        "bytes_received": event.bytes_received if row.get("bytes_received") else None,
        "bytes_transferred": event.bytes_transferred if row.get("bytes_transferred") else None,
        "error_message": None if status == "NORMAL" else status,
    }
    out["connector"] = {"id": row.get("connector_id") or None, "name": row.get("connector") or None}
    out["remote_network"] = {"id": row.get("remote_network_id") or None, "name": row.get("remote_network") or None}
    port = row.get("resource_port") or ""
    out["resource"] = {
        "address": row.get("resource_domain") or row.get("resource_ip") or None,
        "applied_rule": row.get("applied_rule") or None,
        "id": row.get("resource_id") or None,
        "ip": row.get("resource_ip") or None,
        "port": int(port) if port.isdecimal() and len(port) < 6 else None,
    }
    if row.get("relays") is not None:
        # Several relays stand in one cell, and no page says what divides them: told as one, so that the path stays known.
        port = row.get("relay_ports") or ""
        relay = {
            "ip": row.get("relay_ips") or None,
            "name": row["relays"],
            "port": int(port) if port.isdecimal() and len(port) < 6 else None,
        }
        out["relays"] = [relay] if row["relays"] else []
    out["device"] = {"id": row.get("device_id") or None}
    if row.get("user") or row.get("user_id"):
        out["user"] = {"id": row.get("user_id") or None, "email": row.get("user") or None}
    else:
        out["service_account"] = {
            "name": row.get("service_account") or None,
            "id": row.get("service_account_id") or None,
            "key": row.get("service_account_key") or None,
            "key_id": row.get("service_account_key_id") or None,
        }
    return out


def _instant(text: str) -> bool:
    try:
        times.parse(text)
    except (ValueError, OverflowError):
        return False
    return True


def vendor_time(ms: int) -> str:
    """2026-03-27T10:00:00.123000+00:00"""
    return times.iso(ms)[:-1] + "000+00:00"


def dumps(document: dict[str, Any]) -> bytes:
    """One line.  The fast encoder knows no whole numbers beyond 64 bits and no half characters; JSON has both."""
    try:
        return _encode(document)
    except (OverflowError, UnicodeError, ValueError):
        return json.dumps(document, separators=(",", ":")).encode()


def each(line: Line, values: Sequence[bytes], events: Sequence[Any]) -> bytes:
    """The lines of many, one by one, each with its end."""
    return b"\n".join([*map(line, values, events), b""])


def line_of(kind: str) -> Line:
    return authentication_line if kind == AUTHENTICATION else connection_line


def wanted(event: Event, *, types: frozenset[str], results: frozenset[str], users: frozenset[str]) -> bool:
    """Whether a destination's filter lets this event through; an empty set lets everything through.  `users` are folded e-mails or ids of people."""
    who = event.principal
    if users and (who.kind != USER or (who.id.casefold() not in users and who.email not in users)):
        return False
    if isinstance(event, Authentication):
        return (not types or event.type in types) and (not results or event.result in results)
    failed = "failure" if event.outcome.startswith("failed") else "success"
    return (not types or event.outcome in types) and (not results or failed in results)
