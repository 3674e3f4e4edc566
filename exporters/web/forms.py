"""Fields as a browser sends them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request

from pipeline.errors import RequestError

MAX_BYTES = 64 << 10
MAX_FIELDS = 200


async def fields(request: Request) -> dict[str, str]:
    """The fields of a submitted form, the last of equal names.  Raises RequestError."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise RequestError("this form is too large", status=413, code="too_large")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise RequestError("this is not a form of this page", status=400) from None
    return dict(pairs)
