"""The oracle: what the reports must say, from raw records, with nothing of the product but its documented rules.

It keeps everything in memory and computes from scratch; the standard library only.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

DAY = 86_400_000
BUCKET = 900_000
STATES = {"established_connection", "closed_connection", "failed_to_connect", "denied_access"}
REASONS = {"idp_error", "posture_mismatch", "policy_block", "location_block", "mfa_failed", "user_disabled", "unknown"}
TYPES = {"client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Record(NamedTuple):
    topic: str  # "connections" or "authentications"
    partition: int
    offset: int
    timestamp: int
    value: bytes
    headers: dict


class Bad(Exception):
    pass


def _no_constant(text):
    raise Bad("not_json")


def load(value: bytes):
    if len(value) > 262_144:
        raise Bad("too_large")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("not_utf8") from None
    depth = deepest = 0
    inside = escaped = False
    for c in text if text.count("{") + text.count("[") > 32 else "":
        if inside:
            inside, escaped = (c != '"' or escaped), (c == "\\" and not escaped)
        elif c == '"':
            inside = True
        elif c in "{[":
            depth += 1
            deepest = max(depth, deepest)
        elif c in "}]":
            depth -= 1
    if deepest > 32:
        raise Bad("too_deep")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Bad("not_json") from None


def text_at(obj, *path):
    for name in path:
        if obj is None:
            return ""
        if not isinstance(obj, dict):
            raise Bad("wrong_type")
        obj = obj.get(name)
    if obj is None:
        return ""
    if not isinstance(obj, str):
        raise Bad("wrong_type")
    return obj


def amount_at(obj, *path):
    for name in path:
        if obj is None:
            return 0
        if not isinstance(obj, dict):
            raise Bad("wrong_type")
        obj = obj.get(name)
    if obj is None:
        return 0
    if isinstance(obj, bool) or not isinstance(obj, int):
        raise Bad("wrong_type")
    if not 0 <= obj <= 2**63 - 1:
        raise Bad("out_of_range")
    return obj


def when(text):
    if not text:
        raise Bad("missing_field")
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?\s?(Z|UTC|[+-]\d\d:\d\d)", text, re.ASCII)
    if not match:
        raise Bad("bad_time")
    day, clock, fraction, zone = match.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}" + ("+00:00" if zone in ("Z", "UTC") else zone))
    except ValueError:
        raise Bad("bad_time") from None
    return round((at - EPOCH).total_seconds()) * 1000 + int(((fraction or "") + "000")[:3])


def address(text):
    if not text:
        return ""
    match = re.fullmatch(r"\[(.*)\](?::(\d+))?", text) or re.fullmatch(r"(\d+\.\d+\.\d+\.\d+)(?::(\d+))?", text)
    if match:
        text = match[1]
        if match[2] and int(match[2]) > 65535:
            raise Bad("bad_address")
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise Bad("bad_address") from None
    if parsed.version == 6 and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return str(parsed)


def who(event):
    user = event.get("user")
    id_, email = text_at(user, "id") if user else "", text_at(user, "email") if user else ""
    if id_ or email:
        return ("user", id_, email.casefold())
    account = text_at(event, "service_account", "id")
    if account:
        return ("service_account", account, "")
    raise Bad("missing_field")


def is_dns(message):
    low = message.lower()
    return any(
        s in low
        for s in (
            "dns_error",
            "nxdomain",
            "no such host",
            "could not resolve",
            "name resolution",
            "getaddrinfo",
            "servfail",
            "name or service not known",
        )
    )


def one_of(word, words, missing="missing_field"):
    if word is None:
        raise Bad(missing)
    if not isinstance(word, str) or word not in words:
        raise Bad("wrong_type")
    return word


def connection(obj, kind):
    """A dict of what one connection event says."""
    path = None
    if kind == "log":
        t = obj.get("timestamp")
        if t is None:
            raise Bad("missing_field")
        if isinstance(t, bool) or not isinstance(t, int):
            raise Bad("wrong_type")
        state, c = obj["event_type"], obj.get("connection")
        rx, tx = amount_at(c, "rx"), amount_at(c, "tx")
    else:
        state = one_of(obj.get("status"), STATES)
        if obj.get("time") is not None and not isinstance(obj["time"], str):
            raise Bad("wrong_type")
        t, c = None, obj.get("connection")
        rx, tx = amount_at(c, "bytes_received"), amount_at(c, "bytes_transferred")
    device = text_at(obj, "device", "id")
    message, raw_ip, tunnel = text_at(c, "error_message"), text_at(c, "client_ip"), text_at(c, "tunnel_path")
    relays = obj.get("relays")
    if relays is not None and not isinstance(relays, list):
        raise Bad("wrong_type")
    principal = who(obj)
    if t is None:
        t = when(obj.get("time"))
    ip = address(raw_ip)
    path = {"direct": "p2p", "relay": "relay", "relayed": "relay"}.get(tunnel)
    if path is None and relays is not None:
        path = "relay" if relays else "p2p"
    own = text_at(obj, "id")
    id_ = (
        ("own", own) if own else ("connection", text_at(c, "id"), state) if kind == "log" and text_at(c, "id") else None
    )
    outcome = {"closed_connection": "success", "established_connection": "open"}.get(state, "other")
    if state == "failed_to_connect" and is_dns(message):
        outcome = "dns"
    return {
        "who": principal,
        "t": t,
        "outcome": outcome,
        "tx": tx,
        "rx": rx,
        "ip": ip,
        "device": device,
        "path": path,
        "id": id_,
    }


def csv_row(obj):
    if any(v is not None and not isinstance(v, str) for k, v in obj.items()):
        raise Bad("wrong_type")
    status = one_of(obj.get("status"), {"NORMAL", "DNS_ERROR", "CONNECTION_FAILED"})
    sizes = {}
    for name in ("bytes_transferred", "bytes_received"):
        cell = obj.get(name) or "0"
        if not re.fullmatch(r"-?\d+", cell, re.ASCII):
            raise Bad("wrong_type")
        if not 0 <= int(cell) <= 2**63 - 1:
            raise Bad("out_of_range")
        sizes[name] = int(cell)
    if obj.get("user") or obj.get("user_id"):
        principal = ("user", obj.get("user_id") or "", (obj.get("user") or "").casefold())
    elif obj.get("service_account_id"):
        principal = ("service_account", obj["service_account_id"], "")
    else:
        raise Bad("missing_field")
    relays = obj.get("relays")
    return {
        "who": principal, "t": when(obj.get("end_time") or obj.get("start_time")), "outcome": {"NORMAL": "success", "DNS_ERROR": "dns"}.get(status, "other"),
        "tx": sizes["bytes_transferred"], "rx": sizes["bytes_received"], "ip": address(obj.get("client_ip") or ""), "device": obj.get("device_id") or "",
        "path": None if relays is None else "relay" if relays else "p2p", "id": ("own", obj["id"]) if obj.get("id") else None,
    }  # fmt: skip


def sign_in(obj):
    action = obj.get("action")
    if action is None:
        raise Bad("missing_field")
    if not isinstance(action, dict):
        raise Bad("wrong_type")
    if obj.get("time") is None:
        raise Bad("missing_field")
    type_ = one_of(action.get("type"), TYPES)
    user = action.get("user")
    if user is None:
        raise Bad("missing_field")
    result = action.get("result")
    result = "success" if result is None else one_of(result, {"success", "failure"})
    reason = text_at(action, "reason")
    id_, email = text_at(user, "id"), text_at(user, "email")
    if not (id_ or email):
        raise Bad("missing_field")
    address(text_at(action, "client_ip"))
    t = when(text_at(obj, "time"))
    own = text_at(obj, "id")
    document = json.loads(json.dumps(obj))
    if result == "failure":
        if reason not in REASONS:
            document["action"]["reason"] = "unknown"
            if reason:
                document["action"]["detail"] = reason
        reason = reason if reason in REASONS else "unknown"
    else:
        reason = ""
    return {"who": ("user", id_, email.casefold()), "t": t, "type": type_, "result": result, "reason": reason, "own": own,
            "id": ("own", own) if own else None, "document": {"event_type": "authentication", "event": document}}  # fmt: skip


def decode(record):
    obj = load(record.value)
    if not isinstance(obj, dict):
        raise Bad("unknown_type")
    kind, inner = obj.get("event_type"), obj.get("event")
    if kind in STATES if isinstance(kind, str) else False:
        topic, event = "connections", connection(obj, "log")
    elif kind in ("network_access", "network") and isinstance(inner, dict):
        topic, event = "connections", connection(inner, "s3")
    elif kind == "authentication" and isinstance(inner, dict):
        topic, event = "authentications", sign_in(inner)
    elif "status" in obj and "time" in obj:
        topic, event = "connections", connection(obj, "s3")
    elif "action" in obj:
        topic, event = "authentications", sign_in(obj)
    elif {"start_time", "status", "user"} <= obj.keys():
        topic, event = "connections", csv_row(obj)
    else:
        raise Bad("unknown_type")
    if not 315_532_800_000 <= event["t"] <= record.timestamp + DAY:
        raise Bad("bad_time")
    if topic != record.topic:
        raise Bad("wrong_topic")
    return event


class Oracle:
    def __init__(self, accounts=()):
        self.accounts = {a["id"]: a for a in accounts}
        self.events = defaultdict(list)  # by topic: (partition, offset, event)
        self.ledger = defaultdict(Counter)  # by (topic, partition)
        self._seen = defaultdict(list)  # (topic, partition, identity) -> [(offset, timestamp)]

    def feed(self, records):
        for r in sorted(records, key=lambda r: (r.topic, r.partition, r.offset)):
            ledger = self.ledger[r.topic, r.partition]
            try:
                event = decode(r)
            except Bad as bad:
                ledger[f"rejected:{bad}"] += 1
                continue
            if "activity-origin" in r.headers:
                identity = ("origin", r.headers["activity-origin"])
            elif r.headers.get("ce_source") and r.headers.get("ce_id"):
                identity = ("ce", r.headers["ce_source"], r.headers["ce_id"])
            else:
                identity = event["id"] or ("bytes", r.value)
            before = self._seen[r.topic, r.partition, identity]
            twin = any(r.offset // 16384 - o // 16384 <= 1 and r.timestamp - t <= DAY for o, t in before)
            before.append((r.offset, r.timestamp))
            ledger["duplicate" if twin else "applied"] += 1
            if not twin:
                self.events[r.topic].append((r.partition, r.offset, event))

    def person(self, who):
        _, id_, email = who
        account = self.accounts.get(id_)
        return account["email"].casefold() if account else email or id_

    def active(self, from_ms, to_ms, asked_at_ms, device_days=30):
        rows = defaultdict(lambda: {"n": Counter(), "last": 0, "ips": Counter()})
        devices = defaultdict(set)
        now = asked_at_ms - asked_at_ms % BUCKET
        for _, _, e in self.events["connections"]:
            if e["who"][0] != "user":
                continue
            person = self.person(e["who"])
            if e["outcome"] == "success" and e["device"] and now - device_days * DAY <= e["t"] < now + BUCKET:
                devices[person].add(e["device"])
            if not from_ms <= e["t"] < to_ms:
                continue
            row = rows[person]
            row["n"][e["outcome"]] += 1
            if e["outcome"] in ("success", "open"):
                row["last"] = max(row["last"], e["t"])
            if e["outcome"] == "success":
                row["n"]["tx"] += e["tx"]
                row["n"]["rx"] += e["rx"]
                row["n"][e["path"]] += 1
                if e["ip"]:
                    row["ips"][e["ip"]] += 1
        out = []
        for person in sorted(rows):
            n, ips = rows[person]["n"], rows[person]["ips"]
            known = n["relay"] + n["p2p"]
            top = sorted(ips, key=lambda a: (-ips[a], a))[:10]
            failed = n["dns"] + n["other"]
            out.append([
                cell(person), iso(rows[person]["last"]), n["success"] + failed, n["success"], failed, n["dns"], n["other"], n["tx"] + n["rx"], n["tx"], n["rx"],
                share(n["relay"], known), share(n["p2p"], known), len(devices[person]), len(ips), " ".join(top),
            ])  # fmt: skip
        return [[str(c) for c in row] for row in out]

    def inactive(self, as_of_ms, days):
        last = {}
        seen = set()
        for topic in ("connections", "authentications"):
            for _, _, e in self.events[topic]:
                if e["who"][0] != "user":
                    continue
                person = self.person(e["who"])
                seen.add(person)
                if e.get("outcome") in ("success", "open") and e["t"] < as_of_ms:
                    last[person] = max(last.get(person, 0), e["t"])
        population = (
            {a["email"].casefold(): a for a in self.accounts.values()} if self.accounts else dict.fromkeys(seen)
        )
        rows = []
        for person, account in population.items():
            at = last.get(person, 0)
            if at < as_of_ms - days * DAY:
                rows.append(
                    (
                        at,
                        person,
                        [
                            cell(person),
                            iso(at),
                            str((as_of_ms - at) // DAY) if at else "never",
                            (account or {}).get("state", ""),
                            (account or {}).get("created", ""),
                        ],
                    )
                )
        return [r for _, _, r in sorted(rows, key=lambda r: r[:2])]

    def authentication(self, from_ms, to_ms, **wanted):
        found = [
            (e["t"], e["own"], p, o, e)
            for p, o, e in self.events["authentications"]
            if from_ms <= e["t"] < to_ms and all(e[k] == v for k, v in wanted.items())
        ]
        return [e["document"] for *_, e in sorted(found, key=lambda f: f[:4])]


def iso(ms):
    return (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z" if ms else ""


def share(part, whole):
    if not whole:
        return ""
    doubled = Fraction(10_000 * part, whole) + Fraction(1, 2)
    n = doubled.numerator // doubled.denominator
    return f"{n // 100}.{n % 100:02d}"


def cell(text):
    return "'" + text if text[:1] and text[0] in "=+-@\t\r\n＝＋－＠" else text
