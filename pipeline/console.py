"""What a person at a terminal sees, and how programs begin.  Data goes to standard output; everything said about it goes to standard error."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.errors import EXIT_BUG, Problem

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)
T = TypeVar("T")


def say(line: str) -> None:
    """One line for the person, on standard error."""
    stderr.print(line, markup=False)


def collect_rarely() -> None:
    """For a program that lives long, before its heavy imports.

    The default looks at the young objects every 700 of them: importing makes many that stay, a list of records thousands that die together.  And a look
    at all of them holds up whatever else the process does.
    """
    gc.set_threshold(100_000, 20, 100)


def guarded(main: Callable[[], T]) -> T:
    """Run a program: a Problem is one line and its exit code, anything else is a bug with its trace and exit 70."""
    try:
        return main()
    except Problem as problem:
        say(f"activity: {problem}")
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        stderr.print_exception()
        sys.exit(EXIT_BUG)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, nothing elsewhere.  Yields `advance(n)`; `total` None means unknown."""
    if not stderr.is_terminal:
        yield lambda _n: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda n: bar.advance(task, n)
