"""Seeded streams of gateway lines with everything that goes wrong in them.  `python -m tests.streams DIRECTORY` makes the shipped samples."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

DAY = 86_400_000
COLUMNS = [
    "start_time",
    "end_time",
    "user",
    "user_id",
    "device_id",
    "client_ip",
    "connector",
    "connector_id",
    "resource_ip",
    "resource_port",
    "resource_domain",
    "resource_id",
    "protocol",
    "status",
    "bytes_transferred",
    "bytes_received",
    "remote_network",
    "remote_network_id",
    "applied_rule",
    "relays",
    "relay_ips",
    "relay_ports",
    "service_account",
    "service_account_id",
    "service_account_key",
    "service_account_key_id",
]
DNS = (
    "lookup db.corp: no such host",
    "NXDOMAIN",
    "temporary failure in name resolution",
    "DNS_ERROR",
    "could not resolve host",
)
RUBBISH = (
    b'{"event_type":"closed_connection","timestamp":1774', b'{"a":NaN}', b"[]", b'"text"', b"17", b"null", b'{"hello":"world"}', b'{"event_type":"network_access","event":7}',
    b'{"event_type":"closed_connection","timestamp":"1774605600000","user":{"id":"1"}}', b'{"event_type":"closed_connection","user":{"id":"1"}}',
    b'{"event_type":"closed_connection","timestamp":5,"user":{"id":"1"}}', b'{"event_type":"closed_connection","timestamp":1774605600000}',
    b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"},"connection":{"rx":-1}}',
    b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"},"connection":{"tx":1180591620717411303424}}',
    b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"1"},"connection":{"client_ip":"1.2.3"}}',
    b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":1}}', b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"\xff"}}',
    b'{"time":"2026-03-01","status":"closed_connection","user":{"id":"1"}}', b'{"time":"2026-03-01T00:00:00Z","status":"melted","user":{"id":"1"}}',
    b'{"time":"2026-03-01T00:00:00Z","action":{"type":"reauth","user":{"id":"1"}}}', b'{"deep":' + b"[" * 40 + b"]" * 40 + b"}",
)  # fmt: skip


class Line(NamedTuple):
    topic: str
    key: bytes
    value: bytes
    headers: tuple = ()


def iso(ms: int, form: str = "T") -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    if form == "UTC":
        return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{ms % 1000:03d}".rstrip("0").ljust(2, "0") + " UTC"
    return (
        at.strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{ms % 1000:03d}{'456' if ms % 2 else '000'}"
        + ("+00:00" if ms % 3 else "Z")
    )


class Stream:
    """`lines()` yields Lines around [start, start + days): late and skewed ones lie outside."""

    def __init__(self, seed: int, *, start_ms: int, days: int = 7, users: int = 60) -> None:
        self.rng = random.Random(seed)
        self.start_ms, self.days, self.users, self.number = start_ms, days, users, 0

    def accounts(self) -> list[dict]:
        """The directory: some users renamed, some never seen, some missing."""
        rows = []
        for n in range(0, self.users, 2):
            email = f"renamed.{n}@corp.example.com" if n % 6 == 0 else self.email(n)
            rows.append(
                {
                    "id": str(113_000 + n),
                    "email": email,
                    "name": f"Person {n}",
                    "state": ("active", "suspended", "pending")[n % 3],
                    "created": "2025-01-15T08:00:00.000Z",
                }
            )
        rows += [
            {"id": f"new-{n}", "email": f"never{n}@corp.example.com", "name": "", "state": "active", "created": ""}
            for n in range(3)
        ]
        return rows

    def email(self, n: int) -> str:
        if n % 17 == 5:
            return f"=cmd{n}@corp.example.com"
        if n % 11 == 3:
            return f"Jürgen.Straße{n}@Example.com"
        return f"User{n}@Corp.Example.com" if n % 2 and self.rng.random() < 0.5 else f"user{n}@corp.example.com"

    def user(self) -> dict:
        rng = self.rng
        n = min(int(rng.expovariate(6 / self.users)), self.users - 1)
        kind = n % 10
        if kind == 7:
            return {"email": self.email(n)}
        if kind == 8:
            return {"id": str(113_000 + n), "email": None}
        return {"id": str(113_000 + n), "email": self.email(n)}

    def address(self) -> str | None:
        rng, n = self.rng, self.rng.randrange(40)
        return rng.choice((
            f"203.0.113.{n}", f"203.0.113.{n}", f"198.51.100.{n}:5{n:03d}", f"::ffff:203.0.113.{n}", f"2001:DB8:0:0::{n:x}", f"[2001:db8::{n:X}]:443", "", None,
        ))  # fmt: skip

    def time(self) -> int:
        rng = self.rng
        t = self.start_ms + int(self.days * DAY * rng.random())
        if rng.random() < 0.05:
            t -= rng.randrange(10 * DAY)  # late
        if rng.random() < 0.05:
            t = t // 900_000 * 900_000 - rng.choice((0, 1))  # on an edge
        return t

    def connection(self) -> Line:
        rng, t = self.rng, self.time()
        self.number += 1
        state = rng.choices(
            ("closed_connection", "established_connection", "failed_to_connect", "denied_access"), (60, 15, 15, 5)
        )[0]
        message = (
            None
            if state in ("closed_connection", "established_connection")
            else rng.choice((*DNS, "connection refused", "i/o timeout", None))
        )
        tunnel, relays = (
            rng.choice(("direct", "relay", "relayed", "other", None)),
            rng.choice(([], [{"ip": "192.0.2.1", "name": "relay", "port": 30010}], None)),
        )
        tx, rx, ip, device = rng.randrange(10**6), rng.randrange(10**7), self.address(), f"d{rng.randrange(200)}"
        if rng.random() < 0.01:
            tx = 2**63 - 1 if self.number % 2 else 2**53 + 1  # sums of the first need more than 64 bits
        service = rng.random() < 0.05
        person = (
            {"service_account": {"id": f"s{rng.randrange(3)}", "name": "robot"}} if service else {"user": self.user()}
        )
        key = (person.get("user") or {}).get("id") or (person.get("user") or {}).get("email") or "s"
        form = rng.random()
        if form < 0.5:
            value = {"event_type": state, "timestamp": t, "connection": {"id": f"c{self.number}", "client_ip": ip, "protocol": "tcp", "rx": rx, "tx": tx, "error_message": message,
                     "tunnel_path": tunnel, "cbct_freshness": -3}, "device": {"id": device}, "connector": {"id": "1", "name": "amber-fox"}, "relays": relays, "extra": {"unknown": [1]}, **person}  # fmt: skip
        elif form < 0.8:
            value = {"version": 1, "time": iso(t), "status": state, "connection": {"client_ip": ip, "bytes_received": rx, "bytes_transferred": tx, "error_message": message},
                     "device": {"id": device}, "relays": relays, "location": {"lat": 1.5, "lon": -2}, **person}  # fmt: skip
            if rng.random() < 0.3:
                value["id"] = f"s3-{self.number}"
            if rng.random() < 0.7:
                value = {"event_type": rng.choice(("network_access", "network")), "event": value}
        else:
            status = {"closed_connection": "NORMAL", "established_connection": "NORMAL"}.get(
                state, rng.choice(("DNS_ERROR", "CONNECTION_FAILED"))
            )
            ok = status == "NORMAL"
            user = person.get("user") or {}
            value = dict.fromkeys(COLUMNS, "") | {
                "start_time": iso(t if not ok else t - 5000, "UTC"), "end_time": iso(t, "UTC") if ok else "", "user": user.get("email") or "", "user_id": user.get("id") or "",
                "service_account_id": (person.get("service_account") or {}).get("id", ""), "device_id": device, "client_ip": ip or "", "status": status,
                "bytes_transferred": str(tx) if ok else "", "bytes_received": str(rx) if ok else "", "relays": "relay" if relays else "", "connector": f"c,{self.number}",
            }  # fmt: skip
        headers = (("ce_source", b"gw"), ("ce_id", str(self.number).encode())) if rng.random() < 0.1 else ()
        return Line("connections", key.encode(), json.dumps(value, ensure_ascii=rng.random() < 0.5).encode(), headers)

    def sign_in(self) -> Line:
        rng, t, user = self.rng, self.time(), self.user()
        self.number += 1
        failed = rng.random() < 0.3
        action = {
            "type": rng.choice(("client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset")),
            "user": {**user, "policy": {"id": "p1", "name": "Default"}},
            "client_ip": self.address(),
        }
        if failed:
            action |= {
                "result": "failure",
                "reason": rng.choice(("idp_error", "posture_mismatch", "policy_block", "something new", None)),
                "posture": {"failed": ["disk_encryption"]},
            }
        elif rng.random() < 0.5:
            action["result"] = "success"
        value = {"version": 1, "time": iso(t), "action": action, "custom": {"kept": True}}
        if self.number % 40 == 0:
            value["custom"]["large"] = 2**70  # in a field that we do not know
        if rng.random() < 0.7:
            value["id"] = f"a{self.number}"
        if rng.random() < 0.6:
            value = {"event_type": "authentication", "event": value}
        return Line("authentications", (user.get("id") or user["email"]).encode(), json.dumps(value).encode())

    def lines(self, count: int):
        rng, recent = self.rng, []
        for _ in range(count):
            r = rng.random()
            if r < 0.03:
                yield Line(rng.choice(("connections", "connections", "authentications")), b"r", rng.choice(RUBBISH))
                continue
            if r < 0.09 and recent:
                twin = rng.choice(recent)
                value = twin.value
                if b'"connection": {"id": "c' in value and rng.random() < 0.5:
                    value = value.replace(b"amber-fox", b"amber-fox ")  # other bytes, the same event
                yield twin._replace(value=value)
                continue
            line = self.connection() if r < 0.8 else self.sign_in()
            if rng.random() < 0.004 and line.topic == "connections":  # one giant user
                line = line._replace(value=json.dumps({"event_type": "closed_connection", "timestamp": self.time(), "user": {"id": "giant", "email": "giant@corp.example.com"},
                                     "connection": {"client_ip": f"10.{rng.randrange(9)}.{rng.randrange(256)}.{rng.randrange(256)}"}}).encode(), key=b"giant")  # fmt: skip
            if rng.random() < 0.002 and b'"timestamp": ' in line.value:
                line = line._replace(
                    value=line.value.replace(b'"timestamp": 1', b'"timestamp": 9')
                )  # a clock in another century
            recent.append(line)
            if len(recent) > 2000:
                recent.pop(rng.randrange(1000))
            yield line


def write_samples(directory: Path) -> None:
    """The files that ship: a connector's log, an S3 export, a console CSV, sign-ins and a directory."""
    stream = Stream(2026, start_ms=int(datetime(2026, 3, 23, tzinfo=UTC).timestamp() * 1000), days=8, users=40)
    log, export, sign_ins, table = [], [], [], io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for n, line in enumerate(stream.lines(4200)):
        value = line.value
        if line.topic == "authentications":
            sign_ins.append(value)
        elif value.startswith(b'{"start_time"'):
            writer.writerow(json.loads(value))
        elif value.startswith(b'{"event_type": "network') or value.startswith(b'{"version"'):
            export.append(value)
        else:
            log.append(b"ANALYTICS " + value if n % 3 else value)
            if n % 50 == 0:
                log.append(b"2026-03-23 INFO connector: state changed to online")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "connector.log").write_bytes(b"\n".join(log) + b"\n")
    (directory / "network-events.ndjson").write_bytes(b"\n".join(export) + b"\n")
    (directory / "authentication.ndjson").write_bytes(b"\n".join(sign_ins) + b"\n")
    (directory / "network-events.csv").write_bytes(table.getvalue().encode())
    accounts = io.StringIO(newline="")
    people = csv.DictWriter(accounts, ("id", "email", "name", "state", "created"), lineterminator="\n")
    people.writeheader()
    people.writerows(stream.accounts())
    (directory / "users.csv").write_text(accounts.getvalue())


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
