"""Importing accounts: all faults of a file at once, nothing is sent if there is one; unchanged accounts are not sent again."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import ConfigError
from pipeline.intake.records import Sender, read
from pipeline.settings import Settings
from pipeline.topics import DIRECTORY

STATES = ("active", "suspended", "pending")
ALIASES = {
    "user id": "id", "user_id": "id", "userid": "id", "e-mail": "email", "mail": "email", "user_email": "email", "full name": "name",
    "display name": "name", "status": "state", "created at": "created", "created_at": "created", "creation date": "created",
}  # fmt: skip
REQUIRED = ("id", "email")
TOO_MANY = "\0"  # no column can be called so
FAULTS = 10  # that one line names
FIELDS = ("id", "email", "name", "state", "created")


def parse(path: Path) -> dict[str, dict[str, str]]:
    """{id: account} of a CSV, JSON or NDJSON file.  Raises ConfigError, with every fault in one line."""
    accounts: dict[str, dict[str, str]] = {}
    faults = []
    for where, row in _rows(path, _text(path)):
        account, wrong = _account(row)
        if wrong:
            faults.append(f"{where}: {wrong}")
        elif account["id"] in accounts:
            faults.append(f"{where}: id {account['id']!r} is there twice")
        else:
            accounts[account["id"]] = account
    if faults:
        more = f" (and {len(faults) - FAULTS} more)" if len(faults) > FAULTS else ""
        raise _refused(path, "; ".join(faults[:FAULTS]) + more)
    if not accounts:
        raise _refused(path, "there is no account in it")
    return accounts


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path}: nothing was imported: {why}; mend the file and import it again")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give another file") from None
    except UnicodeDecodeError as error:
        raise _refused(path, f"byte {error.start} is not UTF-8") from None


def _rows(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    start = text.lstrip()[:1]
    if not start:
        return
    if start == "[":
        try:
            yield from ((f"entry {n}", row) for n, row in enumerate(orjson.loads(text), 1))
        except orjson.JSONDecodeError as error:
            raise _refused(path, f"not a JSON array ({error})") from None
        return
    if start == "{":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield f"line {number}", _document(line)
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=TOO_MANY, strict=True)
    try:
        missing = [name for name in REQUIRED if name not in map(_name, reader.fieldnames or ())]
        if missing:
            raise _refused(path, f"no column {' and no column '.join(missing)} in its first line")
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise _refused(path, f"line {reader.reader.line_num}: {error}") from None


def _document(line: str) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _name(column: object) -> str:
    name = str(column).strip().lower()
    return ALIASES.get(name, name)


def _account(row: Any) -> tuple[dict[str, str], str]:
    if not isinstance(row, dict):
        return {}, "not a JSON object"
    if TOO_MANY in row:
        return {}, "more cells than columns"
    given = {}
    for key, value in row.items():
        name = _name(key)
        if name in FIELDS and value is not None:
            if not isinstance(value, str):
                return {}, f"{name} is not text"
            given[name] = value.strip()
    for required in REQUIRED:
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
    done: Counter[str] = Counter()
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
