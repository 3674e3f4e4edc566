"""Accounts of the directory topic as rows of the table.  Anybody may write that topic: what is no account is passed over and said, never a reason to stop."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline import logs

log = logs.logger("projector")


class _Account(msgspec.Struct):
    email: str | None = None
    state: str | None = None
    created: str | None = None


_decoder = msgspec.json.Decoder(_Account)
_REMOVED = _Account()


def row(record: Any) -> tuple[Any, ...] | None:
    """None: not an account.  The key is its id, whatever the value says."""
    try:
        id_ = (record.key or b"").decode()
        account = _decoder.decode(record.value) if record.value else _REMOVED
    except (msgspec.MsgspecError, UnicodeDecodeError):
        id_ = ""
    if not id_:
        # Without an id it would become the account of everybody who is known by e-mail only.
        log.warning("not an account, passed over", partition=record.partition, offset=record.offset)
        return None
    email = (account.email or "").casefold()
    return id_, email, account.state or "", account.created or "", record.offset, int(not record.value)
