"""A followed file, step by step: no line is lost, none is handed out twice, also over a restart."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.intake.lines import TOO_LONG
from pipeline.intake.tail import STEP_BYTES, Tail


def line(name: str) -> bytes:
    return b'{"x":"%b"}' % name.encode()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "connector.log"


@pytest.fixture
def tail(log):
    following = Tail(log, {})
    yield following
    following.close()


def values(tail: Tail) -> list[bytes]:
    return [found.value or found.skipped.encode() for found in tail.step()]


def drained(tail: Tail) -> list[bytes]:
    got: list[bytes] = []
    while more := values(tail):
        got += more
    return got


def append(path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_a_file_may_come_later_and_grows(log, tail):
    assert values(tail) == []
    log.write_bytes(line("a") + b"\n" + line("b") + b"\n")
    assert values(tail) == [line("a"), line("b")]
    assert values(tail) == []
    append(log, b"chatter\n" + line("c") + b"\r\n")
    assert [(found.number, found.value, found.skipped) for found in tail.step()] == [
        (3, b"", "chatter"),
        (4, line("c"), ""),
    ]


def test_a_half_written_line_waits_for_its_end(log, tail):
    log.write_bytes(line("a") + b"\n" + line("b")[:4])
    assert values(tail) == [line("a")]
    assert values(tail) == []
    append(log, line("b")[4:])
    assert values(tail) == []
    append(log, b"\n" + line("c")[:1])
    assert values(tail) == [line("b")]


def test_a_rotated_file_is_read_to_its_end_before_the_new_one(log, tail):
    log.write_bytes(line("a") + b"\n")
    assert values(tail) == [line("a")]
    old = log.rename(log.with_suffix(".1"))
    append(old, line("b") + b"\n")
    assert values(tail) == [line("b")], "nothing is at the path: the old file goes on"
    log.write_bytes(b"")
    append(old, line("c") + b"\n")
    assert values(tail) == [line("c")], "the new file is empty: its writer may still be at the old one"
    assert values(tail) == []
    append(old, line("d") + b"\n" + line("e"))
    append(log, line("f") + b"\n")
    assert values(tail) == [line("d")]
    assert [(found.number, found.value) for found in tail.step()] == [(4 + 1, line("e")), (1, line("f"))], (
        "what a finished file ends with is a line"
    )


def test_a_truncated_file_is_read_from_its_beginning(log, tail):
    log.write_bytes(line("a") + b"\n" + line("b") + b"\n" + line("half")[:3])
    assert values(tail) == [line("a"), line("b")]
    log.write_bytes(line("c") + b"\n")
    assert values(tail) == [line("half")[:3], line("c")]
    log.write_bytes(b"")
    assert drained(tail) == []
    append(log, line("d") + b"\n")
    assert drained(tail) == [line("d")]


def test_a_large_file_comes_in_steps_and_a_huge_line_is_skipped(log, tail):
    many = [line(str(n)) for n in range(50_000)]
    huge = b'{"x":"' + b"y" * 5_000_000 + b'"}'
    log.write_bytes(b"\n".join([*many, huge, line("last"), b""]))
    first = values(tail)
    assert 0 < len(first) < STEP_BYTES // len(many[0])
    got = list(first)
    while got[-1] != line("last"):
        got += values(tail)
    assert got == [*many, TOO_LONG.encode(), line("last")]


def test_a_huge_line_without_an_end_is_held_in_bounded_memory(log, tail):
    log.write_bytes(b'{"x":"' + b"y" * 8_000_000)
    for _ in range(40):
        assert tail.step() == []
    assert len(tail._rest) < 1_100_000
    append(log, b'"}\n' + line("a") + b"\n")
    assert drained(tail) == [TOO_LONG.encode(), line("a")]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(log, tail, make):
    make(log)
    with pytest.raises(ConfigError, match="is not a file"):
        tail.step()


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"start_time,end_time,user,status\n", "a CSV"),
        (b'[\n{"a":1},\n', "a JSON array"),
        (gzip.compress(b"x" * 100), "packed"),
        (zstandard.compress(b"x" * 100), "packed"),
    ],
    ids=["CSV", "array", "gzip", "zstd"],
)
def test_what_cannot_be_read_while_it_grows_is_refused_and_not_passed_over(log, tail, content, form):
    log.write_bytes(content)
    with pytest.raises(ConfigError, match=f"is {form}, .* without --follow"):
        tail.step()


def again(tail: Tail, log) -> Tail:
    """A run that ends here, and the next one."""
    mark = tail.mark()
    tail.close()
    return Tail(log, dict([mark]) if mark else {})


def test_a_restart_goes_on_where_the_mark_is(log, tail):
    log.write_bytes(line("a") + b"\n" + line("b") + b"\n" + line("c")[:5])
    assert values(tail) == [line("a"), line("b")]
    tail = again(tail, log)
    append(log, line("c")[5:] + b"\n")
    assert [(found.number, found.value) for found in tail.step()] == [(3, line("c"))]
    tail = again(tail, log)
    assert values(tail) == []
    tail.close()


def test_a_mark_of_another_file_is_not_believed(log, tail):
    log.write_bytes(b"banner\n" + line("a") + b"\n" + line("b") + b"\n")
    assert len(values(tail)) == 3
    tail = again(tail, log)
    with log.open("r+b") as file:  # truncated and grown again, with the same first line
        file.truncate()
        file.write(b"banner\n" + line("c") + b"\n" + line("d") + b"\n" + line("e") + b"\n")
    assert values(tail) == [b"chatter", line("c"), line("d"), line("e")]
    tail = again(tail, log)
    with log.open("r+b") as file:
        file.truncate()
        file.write(b"banner\n" + line("f") + b"\n")
    assert values(tail) == [b"chatter", line("f")]
    tail.close()


def test_there_is_no_mark_before_the_first_line(log, tail):
    assert tail.mark() is None
    log.write_bytes(line("a"))
    assert values(tail) == []
    assert tail.mark() is None


STEPS = st.lists(st.sampled_from(["line", "half", "end", "rotate", "truncate", "restart", "step"]), max_size=25)


@given(STEPS)
def test_any_history_hands_out_every_whole_line_once(tmp_path_factory, steps):
    log = tmp_path_factory.mktemp("tail") / "log"
    tail, wrote, got, half, count = Tail(log, {}), [], [], b"", 0

    def whole():
        nonlocal half, count
        count += 1
        wrote.append(half + line(str(count)) if half else line(str(count)))
        append(log, line(str(count)) + b"\n")
        half = b""

    for step in [*steps, "end"]:
        if step in ("line", "end"):
            whole()
        elif step == "half":
            append(log, b"{")
            half += b"{"
        elif step == "step":
            got += values(tail)
        else:
            got += drained(tail)
            if step == "restart":
                tail = again(tail, log)
                continue
            if half:
                wrote.append(half)
                half = b""
            if step == "rotate" and log.exists():
                log.rename(log.with_suffix(f".{count}.{len(got)}"))
                whole()
            elif step == "truncate" and log.exists():
                log.write_bytes(b"")
                got += drained(tail)
    got += drained(tail)
    tail.close()
    assert got == wrote
