"""Importing accounts: all faults of a file at once, nothing is sent if there is one; unchanged accounts are not sent again."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import ConfigError, RequestError
from pipeline.intake.records import Sender, read
from pipeline.settings import Settings
from pipeline.topics import DIRECTORY

STATES = ("active", "suspended", "pending")
ALIASES = {
    "user id": "id", "user_id": "id", "userid": "id", "e-mail": "email", "mail": "email", "user_email": "email", "full name": "name",
    "display name": "name", "status": "state", "created at": "created", "created_at": "created", "creation date": "created",
}  # fmt: skip
FIELDS = ("id", "email", "name", "state", "created")


def parse(path: Path) -> dict[str, dict[str, str]]:
    """{id: account} of a CSV, JSON or NDJSON file.  Raises ConfigError, or RequestError with every fault."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 ({error}); give another file") from None
    accounts: dict[str, dict[str, str]] = {}
    faults = []
    for number, row in _rows(path, text):
        account, wrong = _account(row)
        if wrong:
            faults.append(f"line {number}: {wrong}")
        elif account["id"] in accounts:
            faults.append(f"line {number}: id {account['id']!r} is there twice")
        else:
            accounts[account["id"]] = account
    if faults:
        more = f" (and {len(faults) - 20} more)" if len(faults) > 20 else ""
        raise RequestError(f"{path}: nothing was imported: {'; '.join(faults[:20])}{more}")
    return accounts


def _rows(path: Path, text: str) -> list[tuple[int, Any]]:
    start = text.lstrip()[:1]
    try:
        if start == "[":
            return list(enumerate(orjson.loads(text), 1))
        if start == "{":
            return [(n, orjson.loads(line)) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    except orjson.JSONDecodeError as error:
        raise RequestError(f"{path}: nothing was imported: not JSON ({error})") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    return [(reader.line_num, row) for row in reader]


def _account(row: Any) -> tuple[dict[str, str], str]:
    if not isinstance(row, dict):
        return {}, "not an account"
    given = {}
    for key, value in row.items():
        name = str(key).strip().lower()
        name = ALIASES.get(name, name)
        if name in FIELDS and value is not None:
            if not isinstance(value, str):
                return {}, f"{name} is not text"
            given[name] = value.strip()
    for required in ("id", "email"):
        if not given.get(required):
            return {}, f"{required} is missing"
    given["state"] = (given.get("state") or "active").lower()
    if given["state"] not in STATES:
        return {}, f"state {given['state']!r} is none of {', '.join(STATES)}"
    return {name: given.get(name, "") for name in FIELDS}, ""


def import_accounts(settings: Settings, path: Path, *, replace: bool) -> Counter[str]:
    """Add and change; with `replace` also remove what is not in the file.  Returns counts by what happened."""
    accounts = parse(path)
    have: dict[str, bytes] = {}
    for record in read(settings, DIRECTORY):
        key = (record.key or b"").decode("utf-8", "replace")
        if record.value:
            have[key] = record.value
        else:
            have.pop(key, None)
    done = Counter[str]()
    with Sender(settings) as sender:
        for id_, account in accounts.items():
            value = orjson.dumps(account, option=orjson.OPT_SORT_KEYS)
            what = "added" if id_ not in have else "unchanged" if have[id_] == value else "changed"
            done[what] += 1
            if what != "unchanged":
                sender.send(DIRECTORY, key=id_.encode(), value=value)
        for id_ in set(have) - set(accounts) if replace else ():
            sender.send(DIRECTORY, key=id_.encode(), value=None)
            done["removed"] += 1
    return done
