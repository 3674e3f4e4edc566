"""Where a list goes on whose order is not one number: an opaque text that holds the last row's place, so that rows that come or go shift nothing."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec
from fastapi import Query

from pipeline.errors import RequestError

After = Annotated[str, Query(max_length=4000, description="`next` of the page before; empty: the first page")]


def encode(place: Any) -> str | None:
    return None if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode(text: str, form: Any) -> Any:
    """The place, or None for the beginning; `form` is its type.  Raises RequestError."""
    if not text:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=form)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise RequestError("after: pass `next` of the page before, with the same filters") from None
