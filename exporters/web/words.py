"""Values as a person reads them.  Instants are UTC ms and are shown in a named zone."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo, available_timezones

from markupsafe import Markup, escape

from pipeline.model.times import iso, parse

_WALL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", re.ASCII)
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def instant(ms: int, zone: str = "UTC", *, seconds: bool = False) -> str:
    """2026-03-27 10:00, or with seconds."""
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(ms // 1000, ZoneInfo(zone)).strftime(form)


def field_value(ms: int, zone: str) -> str:
    """As a datetime-local field wants it; a wall time that comes twice has its offset, which only a field for text takes."""
    at = datetime.fromtimestamp(ms // 1000, ZoneInfo(zone))
    twice = at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()
    return instant(ms, zone).replace(" ", "T") + (offset(ms, zone) if twice else "")


def field_type(value: str) -> str:
    """Which field holds this end of a range: a browser empties one for wall times that is given anything else."""
    return "datetime-local" if not value or _WALL.fullmatch(value) else "text"


def offset(ms: int, zone: str) -> str:
    """The zone's distance from UTC at an instant: +05:45"""
    return (
        datetime.fromtimestamp(ms // 1000, ZoneInfo(zone)).strftime("%z")[:3]
        + ":"
        + datetime.fromtimestamp(ms // 1000, ZoneInfo(zone)).strftime("%z")[3:5]
    )


def size(count: int) -> str:
    """1.2 MB: decimal units, as file managers show them."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.5 or unit == "PB":
            return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
    raise AssertionError


def count(number: int) -> str:
    """1 234 567, with thin spaces that no locale takes for a decimal sign."""
    return f"{number:,}".replace(",", "\u202f")


def length(ms: int) -> str:
    """A duration in its two largest units."""
    parts = []
    for unit, name in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min"), (1000, "s")):
        whole, ms = divmod(ms, unit)
        if whole:
            parts.append(f"{whole} {name}")
    return " ".join(parts[:2]) or "0 s"


def at(ms: int, zone: str, *, seconds: bool = False) -> Markup:
    """An instant in a zone, which shows its UTC when it is pointed at.  Not a macro: a page holds a hundred of them."""
    shown, utc = instant(ms, zone, seconds=seconds), instant(ms, seconds=True)
    return Markup(f'<time datetime="{iso(ms)}" title="{utc} UTC">{shown}</time>')  # noqa: S704 - digits alone


def written(text: str, zone: str, *, seconds: bool = False) -> Markup:
    """An instant that is written as ISO 8601, in a zone; what is no instant that a calendar has, as it is."""
    try:
        return at(parse(text), zone, seconds=seconds)
    except (ValueError, OverflowError):
        return escape(text)


def user_address(name: str) -> str:
    """Of a user's page.  A browser takes dots alone for folders, however they are written, so they are asked for."""
    return f"/users/?{urlencode({'name': name})}" if name in (".", "..") else f"/users/{quote(name, safe='')}"


@lru_cache(64)  # hundreds of lines on every page
def zone_options(chosen: str) -> Markup:
    """The named zones by continent, for choosing; the chosen one is always among them, or a browser would send another."""
    groups: dict[str, list[str]] = {"UTC": ["UTC"]}
    for name in sorted(available_timezones()):
        area, _, place = name.partition("/")
        if place and area not in ("Etc", "SystemV", "US", "Canada", "Brazil", "Chile", "Mexico", "posix", "right"):
            groups.setdefault(area, []).append(name)
    own = groups.setdefault(chosen.partition("/")[0] or "UTC", [])
    if chosen and chosen not in own:  # another name of a zone
        own.append(chosen)
    option, group = Markup("<option{}>{}</option>"), Markup('<optgroup label="{}">{}</optgroup>')
    selected = Markup(" selected")
    return Markup("\n").join(
        group.format(area, Markup("").join(option.format(selected if name == chosen else "", name) for name in names))
        for area, names in groups.items()
    )
