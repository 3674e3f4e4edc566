"""Lists in pages, by key: a page begins after the last key of the one before, so nothing is shown twice when the list grows meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

from fastapi import Query

from pipeline.errors import RequestError

Item = TypeVar("Item")
After = Annotated[
    str, Query(max_length=200, pattern=r"^[\w.:-]*$", description="`next` of the page before; empty: the first page")
]


def part(
    items: Iterable[Item], key: Callable[[Item], tuple[int, str]], *, after: str, limit: int
) -> tuple[list[Item], str | None]:
    """One page of items that come in descending order of their keys, and what to pass for the next.  Raises RequestError."""
    last = _read(after)
    found: list[Item] = []
    for item in items:
        if last is not None and key(item) >= last:
            continue
        if len(found) == limit:
            number, name = key(found[-1])
            return found, f"{number}-{name}"
        found.append(item)
    return found, None


def _read(text: str) -> tuple[int, str] | None:
    if not text:
        return None
    number, dash, name = text.partition("-")
    if not dash or not (number.isascii() and number.isdigit()):
        raise RequestError("after: pass `next` of the page before")
    return int(number), name
