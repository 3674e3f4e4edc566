"""The verb without a Kafka: what a dry run says, which sources are refused, how a waiting input ends."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from pipeline.errors import ConfigError
from pipeline.intake.lines import lines
from pipeline.intake.sources import _Stoppable, content, fingerprint, unpacked

BAD = Path(__file__).parents[2] / "samples" / "bad"
GOOD = b'{"event_type":"closed_connection","timestamp":1774605600000,"user":{"id":"%b"}}'
SIGN_IN = b'{"time":"2026-03-27T10:00:00Z","action":{"type":"reauth","user":{"id":"1"}}}'


def ingest(*arguments: str, stdin: bytes = b"", data: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "deploy.cli", "ingest", *arguments, "--data", str(data)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def test_a_dry_run_tells_rejects_by_reason_and_needs_no_kafka(tmp_path):
    manifest = json.loads((BAD / "manifest.json").read_text())
    log = tmp_path / "all.log"
    lines = [raw for name in manifest if b"\n" not in (raw := (BAD / name).read_bytes()) and raw.startswith(b"{")]
    reasons = Counter(m["reason"] for name, m in manifest.items() if (BAD / name).read_bytes() in lines)
    # These two are events once they are on their own topic.
    good = reasons.pop("wrong_topic")
    log.write_bytes(
        b"\n".join([*lines, GOOD % b"a", SIGN_IN, b"up and running", b"", b'{"x":"%b"}' % (b"y" * 300_000)])
    )
    done = ingest("--dry-run", "--json", str(log), data=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "read": len(lines) + 5, "resumed": 0, "sent": {"connections": 1, "authentications": good + 1},
        "skipped": {"chatter": 1, "blank": 1}, "too_long_lines": [], "rejected": {**reasons, "too_large": 1},
    }  # fmt: skip
    assert done.stderr == b""


def test_a_dry_run_reads_standard_input_in_any_form(tmp_path):
    array = gzip.compress(b"\xef\xbb\xbf[" + GOOD % b"a" + b"," + SIGN_IN + b",5]")
    done = ingest("--dry-run", "-", stdin=array, data=tmp_path)
    assert done.stderr.decode().splitlines() == [
        "read 3 lines", "  1 would be events of authentications", "  1 would be events of connections", "  1 would be rejected: unknown_type",
    ]  # fmt: skip


def broken_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(os.urandom(100_000))[:-50_000])


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("flags", [("--dry-run",), ()])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _path: None, "cannot be read (No such file or directory)"),
        (Path.mkdir, "is not a file"),
        (pipe, "is not a file; give files, or `-` and the content on standard input"),
        (broken_gzip, "its gzip data is broken"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line_before_anything_is_sent(tmp_path, make, says, flags):
    wrong = tmp_path / "wrong"
    make(wrong)
    # Nobody listens there: a wrong file is said before Kafka is asked.
    (tmp_path / "endpoints.json").write_text('{"kafka": "127.0.0.1:1"}')
    done = ingest(*flags, str(wrong), data=tmp_path)
    assert done.returncode == 2
    assert f"{wrong}" in done.stderr.decode()
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--follow", "-", "x.log"), "standard input is followed as it is"),
        (("x.log",), "no system found in"),
        (("--follow", "x.log"), "no system found in"),
        (("-",), "no system found in"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, arguments, says):
    done = ingest(*arguments, data=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_packed_file_has_the_fingerprint_of_its_content(tmp_path):
    plain, packed, empty = tmp_path / "a.log", tmp_path / "a.log.gz", tmp_path / "empty"
    plain.write_bytes(GOOD * 1000)
    packed.write_bytes(gzip.compress(GOOD * 1000))
    empty.write_bytes(b"")
    heard = []
    assert fingerprint(plain, heard.append) == fingerprint(packed) != fingerprint(BAD / "nan.bin")
    assert sum(heard) == plain.stat().st_size
    assert fingerprint(empty) == ""


def test_a_read_file_tells_how_far_it_is(tmp_path):
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(GOOD * 1000))
    with content(file) as (source, position):
        assert source.read() == GOOD * 1000
        assert position() == file.stat().st_size


def test_a_stop_ends_an_input_that_gives_nothing_more():
    reader, writer = os.pipe()
    try:
        asked = []
        source = unpacked(_Stoppable(reader, lambda: bool(asked)), "test") if os.write(writer, b"one\ntw") else None
        assert source.readline() == b"one\n"
        asked.append(1)
        assert source.readline() == b"tw"
        assert source.readline() == b""
    finally:
        os.close(reader)
        os.close(writer)


def test_broken_packing_is_said_where_it_breaks():
    reader, writer = os.pipe()
    os.write(writer, gzip.compress(b"a" * 100)[:-9])
    os.close(writer)
    with pytest.raises(ConfigError, match="standard input: its gzip data is broken"):
        unpacked(_Stoppable(reader, lambda: False), "standard input").read()
    os.close(reader)


@pytest.mark.parametrize("frames", [1, 3])
def test_zstd_frames_are_read_to_the_end_of_the_last_and_a_cut_one_is_broken(tmp_path, frames):
    whole = b"".join(zstandard.compress(GOOD * 2_000 + b"%d" % n) for n in range(frames))
    file = tmp_path / "a.zst"
    file.write_bytes(whole)
    with content(file) as (source, position):
        assert source.read() == b"".join(GOOD * 2_000 + b"%d" % n for n in range(frames))
        assert position() == len(whole)
    for missing in (1, 5, len(zstandard.compress(GOOD * 2_000)) // 2):
        file.write_bytes(whole[:-missing])
        with content(file) as (source, _), pytest.raises(ConfigError, match="its zstd data is broken"):
            source.read()


def test_a_slow_input_gives_each_line_when_it_ends():
    reader, writer = os.pipe()
    try:
        found = None
        for said in (b'{"a":1}\n', b'{"b":2}\n', b'{"c":3}\n'):
            os.write(writer, said)
            found = found or lines(unpacked(_Stoppable(reader, lambda: False), "test"))
            assert next(found).value == said.strip()
    finally:
        os.close(reader)
        os.close(writer)
