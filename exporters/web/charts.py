"""Bars over time as SVG from the server, with the same numbers as a table beside them.

Bars are hours or days of a named zone; a day of 23 or 25 hours is one bar like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

WIDTH, HEIGHT = 720.0, 150.0
LEFT, BOTTOM, TOP = 46.0, 20.0, 8.0
# A bar that stands for something is seen, however small it is beside the greatest.
LEAST = 1.5
TICKS = 7
QUARTER_MS = 900_000
# Windows move once in a quarter hour; so many windows and zones are looked at meanwhile.
CACHED = 64
Step = tuple[int, str, str]  # start in UTC ms, name, short name


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour or day: geometry in the units of the drawing, `good` and `bad` as counts."""

    name: str
    x: float
    width: float
    good: int
    bad: int
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float


@dataclass(frozen=True, slots=True)
class Chart:
    id: str
    title: str
    description: str
    bars: list[Bar]
    lines: list[tuple[float, str]]  # where and what: the scale
    marks: list[tuple[float, str]]
    greatest: int
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    floor: float = HEIGHT - BOTTOM

    @property
    def empty(self) -> bool:
        return not self.greatest


@lru_cache(CACHED)
def hours(from_ms: int, to_ms: int, zone: str) -> list[Step]:
    """The hours of a window.  When clocks are set back the hour that happens twice is two."""

    def hour(local: datetime) -> datetime:
        start = local.replace(minute=0, second=0, microsecond=0, fold=0)
        return start.replace(tzinfo=timezone(local.utcoffset() or timedelta()))

    return _steps(from_ms, to_ms, zone, hour, "%a %d %b %H:%M", "%a %d")


@lru_cache(CACHED)
def days(from_ms: int, to_ms: int, zone: str) -> list[Step]:
    return _steps(
        from_ms,
        to_ms,
        zone,
        lambda local: datetime(local.year, local.month, local.day, tzinfo=UTC),
        "%a %d %b",
        "%d %b",
    )


def draw(
    id_: str,
    title: str,
    steps: list[Step],
    counts: list[tuple[int, int, int]],
    words: tuple[str, str],
) -> Chart:
    """`counts`: (instant, good, bad) in any order; `words` name good and bad ones."""
    sums = [[0, 0] for _ in steps]
    starts = [s for s, _, _ in steps]
    place = 0
    for instant, good, bad in sorted(counts):
        if not starts or instant < starts[0]:
            continue
        while place + 1 < len(starts) and starts[place + 1] <= instant:
            place += 1
        sums[place][0] += good
        sums[place][1] += bad
    greatest = max((g + b for g, b in sums), default=0)
    ceiling = _ceiling(greatest)
    tall = HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT) / max(1, len(steps))
    bars = []
    for n, ((_, name, _), (good, bad)) in enumerate(zip(steps, sums, strict=True)):
        bad_height, good_height = _height(bad, ceiling, tall), _height(good, ceiling, tall)
        bad_y = HEIGHT - BOTTOM - bad_height
        x, width = LEFT + n * step + step * 0.12, step * 0.76
        bars.append(
            Bar(
                name,
                round(x, 2),
                round(width, 2),
                good,
                bad,
                round(bad_y - good_height, 2),
                good_height,
                bad_y,
                bad_height,
            )
        )
    lines = [(round(HEIGHT - BOTTOM - part * tall, 2), _short(round(ceiling * part))) for part in (0.5, 1.0)]
    all_good, all_bad = sum(g for g, _ in sums), sum(b for _, b in sums)
    description = f"{all_good + all_bad:,} in all, of them {all_bad:,} {words[1]}."
    if greatest and steps:
        most = max(range(len(sums)), key=lambda n: sum(sums[n]))
        description += f" Most in {steps[most][1]}: {sum(sums[most]):,}."
    return Chart(id_, title, description, bars, lines if greatest else [], _marks(steps, step), greatest)


def _steps(
    from_ms: int, to_ms: int, zone: str, begin: Callable[[datetime], datetime], form: str, short: str
) -> list[Step]:
    where = ZoneInfo(zone)
    found: list[Step] = []
    seen: datetime | None = None
    for instant in range(from_ms, to_ms, QUARTER_MS):
        start = begin(datetime.fromtimestamp(instant / 1000, where))
        if start != seen:
            found.append((instant, start.strftime(form), start.strftime(short)))
            seen = start
    return found


def _marks(steps: list[Step], step: float) -> list[tuple[float, str]]:
    """A few names under the bars: where the short name changes, thinned out."""
    changes = [(n, short) for n, (_, _, short) in enumerate(steps) if n and short != steps[n - 1][2]]
    every = max(1, -(-len(changes) // TICKS))
    return [
        (round(LEFT + n * step + step / 2, 2), short) for n, short in changes[::every] if n * step < WIDTH - LEFT - 20
    ]


def _height(count: int, ceiling: int, tall: float) -> float:
    return round(max(LEAST, count / ceiling * tall), 2) if count else 0.0


def _ceiling(greatest: int) -> int:
    """The next round number."""
    size = 10 ** max(0, len(str(greatest)) - 1)
    return next(size * k for k in (1, 2, 3, 4, 5, 6, 8, 10) if size * k >= greatest) if greatest else 1


def _short(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)
