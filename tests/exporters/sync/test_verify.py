"""The verifier sees every way in which a delivery can be wrong, from the bucket alone and as one file."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from types import SimpleNamespace

import boto3
import pytest
import zstandard
from botocore.config import Config
from moto.server import ThreadedMotoServer

from exporters.sinks.directory import DirectorySink
from exporters.sinks.target import of_url
from exporters.sync import cuts, manifests, verify
from exporters.sync.app import verifier
from exporters.sync.batches import Batch, Former, Place, attempt_of, cut_of
from exporters.sync.cuts import Chain, Cut, Manifest, Marker
from exporters.sync.delivered import Delivered
from exporters.sync.destinations import parse
from pipeline.model.dialects import decode_authentications
from tests.live.system import eventually

HOUR = 3_600_000
NOW = 1_774_605_600_000 // HOUR * HOUR
PLACE = Place("authentication", "1a2b3c4d", 3)


def sign_in(n: int) -> bytes:
    return b'{"time":"2026-03-27T10:00:00Z","id":"%d","action":{"type":"client_login","user":{"id":"1"}}}' % n


def record(offset: int, value: bytes, at: int = NOW) -> SimpleNamespace:
    return SimpleNamespace(offset=offset, value=value, timestamp=at + offset, partition=3, headers=())


class Writer:
    """A delivery as the protocol makes it, without Kafka: every cut is delivered at once."""

    def __init__(self, path: Path, place: Place = PLACE, *, first: int = 0, **settings) -> None:
        self.place = place
        self.destination = parse("d", {"target": str(path), **settings})
        self.sink, self.chain, self.at = DirectorySink(path), Chain(), 0
        self.say(Cut(first, first, cuts.START))

    def say(self, record: cuts.Record) -> int:
        self.chain.read(self.at, cuts.decode(cuts.encode(record)))
        self.at += 1
        return self.at - 1

    def deliver(self, values: list[bytes], hour: int = 0) -> None:
        first = self.chain.end
        records = [record(first + n, value, NOW + hour * HOUR) for n, value in enumerate(values)]
        batch = Batch(first, first)
        Former("authentication", self.destination).take(batch, records, decode_authentications(records))
        cut, documents = cut_of(
            batch, self.place, self.destination, hour=0, window=self.chain.window, begun=True, at=NOW
        )
        self.put(cut, documents)

    def put(self, cut: Cut, documents: dict, *others: cuts.Attempt) -> None:
        """A cut, other attempts at it, and the documents of one of them."""
        at = self.say(cut)
        for attempt in others:
            self.say(cuts.Again(at, attempt))
        for document in documents.values():
            self.sink.create(document)
        self.say(cuts.Ended(at))

    def account(
        self, hour: int = 0, *, marker: str = "started", partitions: int = 0, written: int | None = None
    ) -> None:
        begin, through = self.chain.unaccounted
        now = NOW + (hour if written is None else written) * HOUR
        self.say(Marker(marker, now))
        at = self.say(Manifest(begin, through, NOW + hour * HOUR, now, partitions))
        self.sink.create(manifests.document(self.chain.accounts[0], self.place, "d", "activity.authentications"))
        self.say(cuts.Ended(at))


@pytest.fixture
def delivered(tmp_path) -> Path:
    writer = Writer(tmp_path / "out")
    for hour in range(3):
        for part in range(2):
            values = [sign_in(hour * 100 + part * 10 + n) for n in range(5)]
            writer.deliver([*values, b"rubbish"] if part else values)
        writer.account(hour)
    return tmp_path / "out"


def found(path: Path, **window: str) -> verify.Findings:
    return verify.Verifier(verify.Directory(str(path)), **window).run()


def objects(path: Path, folder: str = "authentication") -> list[Path]:
    return sorted((path / folder).rglob("*.gz"))


def test_a_whole_delivery_is_complete_and_told(delivered):
    seen = found(delivered)
    assert (seen.problems, seen.ok) == ([], True)
    assert (seen.manifests, seen.objects, seen.events, seen.rejects) == (3, 9, 30, 3)
    assert seen.chains == {"authentication/1a2b3c4d-00003": {"first": 0, "end": 33, "through": "2026-03-27T12"}}


def missing_object(path):
    objects(path)[2].unlink()


def missing_object_of_which_nobody_knows(path):
    """Others would have had no events in it, but its source was gone before anybody could say so."""
    missing = dict.fromkeys(verify.COUNTS, 0) | {"filtered": 5, "objects": []}
    _rewrite(path, lambda m: m["entries"][1].update(outcome="unknown", other_attempts=[missing]))
    objects(path)[0].unlink()


def missing_rejects(path):
    objects(path, "errors")[0].unlink()


def missing_manifest(path):
    sorted((path / "manifests").rglob("*.json"))[1].unlink()


def missing_first_manifest(path):
    min((path / "manifests").rglob("*.json")).unlink()


def changed_bytes(path):
    file = objects(path)[0]
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b'"0"', b'"9"')))


def truncated_bytes(path):
    file = objects(path)[0]
    file.write_bytes(file.read_bytes()[:-9])


def a_second_object_for_the_same_offsets(path):
    file = objects(path)[1]
    shutil.copy(file, file.with_name(file.name.replace("-00000000000000000010.", "-00000000000000000007.")))


def changed_count(path):
    _rewrite(path, lambda m: m["entries"][1].update(duplicates=1))


def changed_line_count(path):
    _rewrite(path, lambda m: m["entries"][1]["objects"][0].update(lines=4))


def an_entry_taken_out(path):
    _rewrite(path, lambda m: m["entries"].pop(1))


def a_lost_stretch(path):
    _instead_of_events(path, "lost")


def rubbish_for_a_manifest(path):
    sorted((path / "manifests").rglob("*.json"))[1].write_bytes(b"{")


def an_entry_that_says_nothing(path):
    _rewrite(path, lambda m: m["entries"][1].pop("events"))


def an_entry_without_objects(path):
    _rewrite(path, lambda m: m["entries"][1].pop("objects"))


def an_entry_without_a_kind(path):
    _rewrite(path, lambda m: m["entries"][0].pop("kind"))


def an_entry_that_begins_nowhere(path):
    _rewrite(path, lambda m: m["entries"][1].pop("first"))


def an_entry_that_begins_at_a_text(path):
    _rewrite(path, lambda m: m["entries"][1].update(first="0"))


def an_entry_that_is_none(path):
    _rewrite(path, lambda m: m["entries"].__setitem__(1, None))


def other_attempts_that_are_none(path):
    _rewrite(path, lambda m: m["entries"][1].update(other_attempts=None))


def a_manifest_that_is_deeper_than_any(path):
    min((path / "manifests").rglob("*.json")).write_text("[" * 100_000)


def a_key_that_is_no_text(path):
    _rewrite(path, lambda m: m["entries"][1]["objects"][0].update(key="\ud800"))


def a_hash_that_is_no_text(path):
    _rewrite(path, lambda m: m["entries"][1]["objects"][0].update(sha256="\ud800"))


def an_event_that_became_a_duplicate(path):
    def change(m):
        m["entries"][1].update(events=4, duplicates=1)
        m["totals"].update(events=9, duplicates=1)

    _rewrite(path, change)


def changed_totals(path):
    _rewrite(path, lambda m: m["totals"].update(events=99))


def a_start_that_takes_up_offsets(path):
    _instead_of_events(path, "start")


def counts_below_nothing(path):
    _rewrite(path, lambda m: (m["entries"][1].update(duplicates=7, gaps=-7), m["totals"].update(duplicates=7, gaps=-7)))


def an_entry_that_goes_back(path):
    _rewrite(path, lambda m: m["entries"].insert(2, m["entries"][1] | {"first": 5, "end": 0}))


def a_second_object_of_events(path):
    _rewrite(path, lambda m: m["entries"][1]["objects"].append(m["entries"][1]["objects"][0] | {"sha256": "0"}))


def attempts_under_two_names(path):
    def change(m):
        other = copy.deepcopy(m["entries"][1])
        other["objects"][0]["key"] = other["objects"][0]["key"].replace("hour=10", "hour=11")
        m["entries"][1]["other_attempts"] = [other]

    _rewrite(path, change)


def an_object_that_reaches_into_others(path):
    """A chain may begin anywhere, and nothing was before its start."""
    writer = Writer(path, Place("authentication", "1a2b3c4d", 4), first=100)
    writer.deliver([sign_in(n) for n in range(5)])
    writer.account()
    file = next(path.rglob(f"*-00004-{100:020d}-{104:020d}.ndjson.gz"))
    shutil.copy(file, file.with_name(file.name.replace(f"{100:020d}", f"{99:020d}")))


def manifests_with_other_digits(path):
    """Nobody writes such names, and nothing but them tells of these objects."""
    writer = Writer(path, Place("authentication", "1a2b3c4d", 4))
    writer.deliver([sign_in(1)])
    writer.account()
    [file] = (path / "manifests").rglob("*-00004-*")
    other = file.parents[1].with_name("dt=٢٠٢٦-٠٣-٢٧") / file.parent.name / file.name
    other.parent.mkdir(parents=True)
    file.rename(other)


def a_number_without_end(path):
    _rewrite(path, lambda m: m["entries"][1].update(events=10**4000))


def a_time_that_is_none(path):
    _rewrite(path, lambda m: m.update(written_at=[], partitions=4))


def a_name_without_end(path):
    _rewrite(path, lambda m: m["entries"][1]["objects"][0].update(key="a" * 1_000_000))


def a_pipe_for_an_object(path):
    file = objects(path)[0]
    file.unlink()
    os.mkfifo(file)


def an_object_of_nothing_known(path):
    _rewrite(path, lambda m: m["entries"][1]["objects"].append(m["entries"][1]["objects"][0] | {"of": "others"}))


def the_object_of_other_offsets(path):
    _rewrite(path, lambda m: m["entries"][1].update(objects=m["entries"][2]["objects"]))


def an_object_named_twice(path):
    """Nothing but the order of manifests says which of two with the vendor's plain name is meant."""
    plain = {"key": "authentication/2026-03-27T10:05:00+00:00-00003.json.gz"}

    def change(m):
        for entry in m["entries"][1:3]:
            entry["objects"][0].update(plain)

    _rewrite(path, change)


def manifests_of_another_kind(path):
    shutil.copytree(path / "manifests" / "authentication", path / "manifests" / "network_access")


def a_manifest_of_another_hour(path):
    file = max((path / "manifests").rglob("*.json"))
    beat = file.with_name(f"{file.name[:15]}{33:020d}-{33:020d}.json")
    told = json.loads(file.read_bytes()) | {"first": 33, "end": 33, "entries": [], "hour": "2026-03-27T11:00:00.000Z"}
    beat.write_text(json.dumps(told))


def another_version(path):
    _rewrite(path, lambda m: m.update(version=2))


def an_entry_of_no_known_kind(path):
    _rewrite(path, lambda m: m["entries"][1].update(kind="\x1b[2J"))


def more_than_a_manifest_has(path):
    with min((path / "manifests").rglob("*.json")).open("r+b") as file:
        file.truncate(verify.MANIFEST_BYTES + 1)


def another_stream(path):
    """Each object once more, under the name of a stream of which no manifest tells."""
    for file in objects(path):
        shutil.copy(file, file.with_name(file.name.replace("1a2b3c4d", "99999999")))


def no_manifest_of_a_kind(path):
    shutil.copytree(path / "authentication", path / "network_access")


def _instead_of_events(path, kind):
    def change(m):
        entry = m["entries"][1]
        m["entries"][1] = {"kind": kind, "first": entry["first"], "end": entry["end"], "objects": []}

    _rewrite(path, change)


def _rewrite(path, change):
    file = min((path / "manifests").rglob("*.json"))
    told = json.loads(file.read_bytes())
    change(told)
    file.write_text(json.dumps(told))


WRONG = {
    missing_object: "is missing",
    missing_rejects: "is missing",
    missing_object_of_which_nobody_knows: "its source was gone before anybody could know",
    missing_manifest: "gap, no manifest covers offsets [11, 22)",
    missing_first_manifest: "begins at offset 11 without a start",
    changed_bytes: "has SHA-256",
    truncated_bytes: "has SHA-256",
    a_second_object_for_the_same_offsets: "is named by no manifest, though its offsets are accounted for",
    changed_count: "the manifest accounts for 6 of 5 offsets",
    changed_line_count: "has 5 lines, the manifest says 4",
    an_entry_taken_out: "gap, no entry covers offsets [0, 5)",
    a_lost_stretch: "lost: retention took these offsets",
    rubbish_for_a_manifest: "cannot be read as a manifest",
    an_entry_that_says_nothing: "cannot be read (KeyError)",
    an_entry_without_objects: "cannot be read as a manifest",
    an_entry_without_a_kind: "cannot be read as a manifest",
    an_entry_that_begins_nowhere: "cannot be read as a manifest",
    an_entry_that_begins_at_a_text: "cannot be read as a manifest",
    an_entry_that_is_none: "cannot be read as a manifest",
    other_attempts_that_are_none: "cannot be read as a manifest",
    a_manifest_that_is_deeper_than_any: "cannot be read as a manifest",
    a_key_that_is_no_text: "cannot be read as a manifest",
    a_hash_that_is_no_text: "has SHA-256",
    an_event_that_became_a_duplicate: "the manifest says 4 events, and 5 lines of them",
    changed_totals: "says 99 events in total, its entries say 10",
    a_start_that_takes_up_offsets: "cannot be read as a manifest (ValueError: a start that takes up offsets)",
    counts_below_nothing: "the manifest says [5, 0, 7, 0, -7] of events, rejects, duplicates, filtered, gaps",
    an_entry_that_goes_back: "an end comes after its beginning",
    a_second_object_of_events: "two objects for the same",
    attempts_under_two_names: "two names for the same",
    an_object_that_reaches_into_others: "is named by no manifest, though its offsets are accounted for",
    manifests_with_other_digits: "lies there, and not one manifest of its partition",
    a_number_without_end: "a number of 4001 digits",
    a_time_that_is_none: "times are texts",
    a_name_without_end: "the name of an object is longer than any",
    a_pipe_for_an_object: "is missing",
    an_object_of_nothing_known: "no object of these offsets",
    the_object_of_other_offsets: "no object of these offsets",
    an_object_named_twice: "is named a second time",
    manifests_of_another_kind: "no object of these offsets",
    a_manifest_of_another_hour: "does not say what its name says",
    another_version: "its version is 2, this verifier knows 1",
    an_entry_of_no_known_kind: "an entry of no known kind, \x1b[2J",
    more_than_a_manifest_has: "longer than any",
    another_stream: "lies there, and not one manifest of its partition",
    no_manifest_of_a_kind: "lies there, and not one manifest of its partition",
}


@pytest.mark.parametrize("break_it", WRONG, ids=lambda b: b.__name__)
def test_whatever_is_wrong_is_named(delivered, break_it):
    break_it(delivered)
    seen = found(delivered)
    assert not seen.ok
    assert any(WRONG[break_it] in p for p in seen.problems), seen.problems
    assert all(line.isprintable() and line.encode() for line in verify.lines_of(seen))


def test_what_a_writer_has_in_hand_is_not_looked_at(delivered):
    (delivered / ".parts" / "half").write_bytes(b"half")
    found = verify.Verifier(verify.Directory(str(delivered))).run()
    assert (found.problems, found.notes) == ([], [])


def test_a_window_of_hours_is_verified_for_itself(delivered):
    missing_first_manifest(delivered)
    first = objects(delivered)[0]
    first.unlink()
    start = verify.hour_of("2026-03-27T11:00")
    assert found(delivered, since=start).problems == []
    assert found(delivered, since=start, until=verify.hour_of("2026-03-27T12:00+00:00")).manifests == 1


WINDOWS = [("", "2026-03-27T12"), ("2026-03-27T12", ""), ("2026-03-27T11", "2026-03-27T12"), ("", "")]


@pytest.mark.parametrize(("since", "until"), WINDOWS)
def test_nothing_is_missing_at_the_edges_of_a_window(tmp_path, since, until):
    """Manifests that are not of these hours say in their names where those of these hours are to begin and to end."""
    writer = Writer(tmp_path)
    for hour in range(4):
        writer.deliver([sign_in(hour)], hour)
        writer.account(hour)
    assert found(tmp_path, since=since, until=until).problems == []
    missing = "11" if until else "12"
    take_away(tmp_path, f"hour={missing}/*")
    gap = int(missing) - 10
    assert f"gap, no manifest covers offsets [{gap}, {gap + 1})" in str(
        found(tmp_path, since=since, until=until).problems
    )


def test_a_window_leaves_alone_what_is_of_other_hours(tmp_path):
    """Objects lie in the hour of their records, which a wrong clock may have put anywhere; manifests of other hours may be rubbish."""
    one, two = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(2))
    for hour in range(6):
        one.deliver([sign_in(hour)], hour + (48 if hour == 0 else 1))
        one.account(hour, partitions=2)
        if hour not in (2, 3, 4):  # two rests for three hours, and goes on
            two.account(hour, partitions=2)
    _rewrite(tmp_path, lambda m: m.update(version=0))
    min((tmp_path / "manifests").rglob("hour=15/*")).write_text("{")
    for since in ("2026-03-27T11", "2026-03-27T12", "2026-03-27T14"):
        seen = found(tmp_path, since=since, until="2026-03-27T15")
        assert (seen.problems, seen.notes) == ([], [])
    first = next((tmp_path / "authentication").rglob(f"*-{1:020d}-*"))
    shutil.copy(first, first.with_name(first.name.replace(f"-{1:020d}.", f"-{2:020d}.")))
    assert len(found(tmp_path, since="2026-03-27T12", until="2026-03-27T15").problems) == 1, "it reaches into them"


def test_hours_in_which_everything_rested_are_complete(tmp_path):
    writer = Writer(tmp_path)
    for hour in (0, 1, 8, 9):
        writer.deliver([sign_in(hour)], hour)
        writer.account(hour, marker="paused" if hour == 1 else "resumed")
    seen = found(tmp_path, since="2026-03-27T13", until="2026-03-27T15")
    assert (seen.ok, seen.manifests) == (True, 0)
    assert "(these hours have no manifest, and none is missing)" in list(verify.lines_of(seen))[-1]
    for since, until in (("2026-03-27T08", "2026-03-27T10"), ("2026-03-27T20", "2026-03-27T22")):
        assert not found(tmp_path, since=since, until=until).ok, "nothing tells of what was before, or came later"


def test_what_no_manifest_tells_yet_is_said_and_is_no_fault(tmp_path):
    writer = Writer(tmp_path)
    writer.deliver([sign_in(1)])
    writer.account()
    writer.deliver([sign_in(2)])
    seen = found(tmp_path)
    assert (seen.ok, seen.objects) == (True, 1)
    assert "1 objects, up to 2026-03-27T10, are newer than the last manifest and not verified yet" in seen.notes


@pytest.mark.parametrize("naming", ["offsets", "vendor"])
def test_a_backlog_is_no_older_than_the_manifest_after_which_it_comes(tmp_path, naming):
    """Objects are named after their records' time, manifests after the clock; one that comes before what is accounted for is a stranger."""
    writer = Writer(tmp_path, naming=naming)
    writer.deliver([sign_in(1)], hour=-5)
    writer.deliver([sign_in(2)], hour=-4)
    writer.account()
    writer.deliver([sign_in(3)], hour=-3)
    writer.deliver([sign_in(4)], hour=-3)
    seen = found(tmp_path)
    assert (seen.problems, seen.notes) == (
        [],
        ["2 objects, up to 2026-03-27T07, are newer than the last manifest and not verified yet"],
    )
    first, last = (sorted(p for p in (tmp_path / "authentication").rglob("*.gz"))[n] for n in (0, -1))
    stranger = first.with_name(first.name.replace("0" * 20, "0" * 19 + "1").replace("T05:05", "T05:00"))
    shutil.copy(last, stranger)
    assert found(tmp_path).problems == [
        f"{stranger.relative_to(tmp_path)} is named by no manifest, though its offsets are accounted for"
    ]


@pytest.fixture
def partitions(tmp_path) -> list[Writer]:
    """Two partitions side by side for four hours; nothing comes in the last two."""
    writers = [Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(2)]
    for hour in range(4):
        for n, writer in enumerate(writers):
            if hour < 2:
                writer.deliver([sign_in(10 * hour + n)], hour)
            writer.account(hour, partitions=2)
    return writers


def take_away(path: Path, *of: str) -> None:
    for pattern in of:
        for file in path.rglob(pattern):
            file.unlink()


def test_partitions_are_held_against_each_other(partitions, tmp_path):
    assert found(tmp_path).problems == []
    take_away(tmp_path / "manifests", "hour=13/1a2b3c4d-00001-*")
    assert found(tmp_path).problems == [], "it need not come at the same moment"
    take_away(tmp_path / "manifests", "hour=12/1a2b3c4d-00001-*")
    early = "authentication/1a2b3c4d-00001: nothing is accounted for after 2026-03-27T{}, though other partitions go on to {}"
    assert found(tmp_path).problems == [early.format(11, "2026-03-27T13")]
    take_away(tmp_path / "manifests", "hour=11/1a2b3c4d-00001-*")
    take_away(tmp_path / "authentication", "hour=11/1a2b3c4d-00001-*")
    assert found(tmp_path).problems == [early.format(10, "2026-03-27T13")]
    take_away(tmp_path / "manifests", "1a2b3c4d-00001-*")
    nothing = "authentication/1a2b3c4d-00001 has no manifest, though its topic had this partition in 2026-03-27T10"
    assert [p.split(" lies there, ")[-1] for p in found(tmp_path).problems] == [
        "and not one manifest of its partition",
        nothing,
    ]
    take_away(tmp_path / "authentication", "1a2b3c4d-00001-*")
    assert found(tmp_path).problems == [nothing]
    nothing = nothing.replace("T10", "T11")
    assert found(tmp_path, since="2026-03-27T11", until="2026-03-27T12").problems == [nothing], "as others show later"


def test_what_lies_in_the_hours_that_were_asked_for_is_held_against_each_other(partitions, tmp_path):
    take_away(tmp_path / "manifests", "hour=12/1a2b3c4d-00001-*", "hour=13/1a2b3c4d-00001-*")
    assert found(tmp_path, until="2026-03-27T12").problems == []
    assert len(found(tmp_path, since="2026-03-27T13").problems) == 1
    assert len(found(tmp_path, since="2026-03-27T12").problems) == 1
    take_away(tmp_path / "manifests", "hour=10/1a2b3c4d-00000-*", "hour=11/1a2b3c4d-00001-*")
    assert len(found(tmp_path, since="2026-03-27T11").problems) == 1


def test_a_partition_that_is_added_or_had_nothing_more_is_no_fault(tmp_path):
    """A topic grows, a backfill reaches the end of one partition hours before that of another, a sync rests for a day."""
    one, two, three = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(3))
    for hour in (0, 24):
        one.deliver([sign_in(hour)], hour)
        one.account(hour, partitions=2)
    two.account(0, partitions=2)
    assert found(tmp_path).problems == [], "after its rest one begins before the other"
    for hour in range(25, 28):
        one.account(hour, partitions=2)
        two.account(hour, partitions=2)
    one.account(28, partitions=3)
    two.account(28, partitions=3)
    seen = found(tmp_path)
    assert (seen.problems, seen.notes) == ([], ["1 partitions of authentication/1a2b3c4d have no manifest yet"])
    three.account(29, partitions=3)
    one.account(29, partitions=3)
    assert found(tmp_path).problems == []
    take_away(tmp_path, "1a2b3c4d-00002-*")
    for writer in (one, two):
        writer.account(30, marker="stopped", partitions=3)
    assert found(tmp_path).problems == [
        "authentication/1a2b3c4d-00002 has no manifest, though its topic had this partition in 2026-03-28T14"
    ]


def test_a_topic_may_grow_a_moment_before_the_sync_stops_and_not_before_a_backfill_ends(tmp_path):
    for folder, wrong in (("", 0), ("backfill/20260301T0000_20260302T0000/", 1)):
        writer = Writer(tmp_path, Place("authentication", "1a2b3c4d", 0, folder))
        writer.account(partitions=2, marker="finished" if folder else "stopped")
        assert len(found(tmp_path).problems) == wrong


def test_a_partition_that_begins_late_with_a_start_lacks_nothing(tmp_path):
    """A clock was ahead when it began, or it was long in coming: nothing was before."""
    one, two = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(2))
    for hour in range(6):
        one.account(hour, partitions=2)
        if hour > 3:
            two.account(hour, partitions=2)
    assert found(tmp_path).problems == []
    assert found(tmp_path, until="2026-03-27T14").problems == []


def test_a_partition_that_begins_late_lacks_what_was_before(tmp_path):
    """Also in a window before its first manifest that is left."""
    one, two = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(2))
    for hour in range(6):
        for n, writer in enumerate((one, two)):
            writer.deliver([sign_in(10 * hour + n)], hour)
            writer.account(hour, partitions=2)
    take_away(tmp_path, *(f"hour={hour}/1a2b3c4d-00001-*" for hour in (10, 11, 12)))
    late = "authentication/1a2b3c4d-00001 has no manifest before 2026-03-27T13, though its topic had this partition in 2026-03-27T10"
    assert late in found(tmp_path).problems
    assert found(tmp_path, until="2026-03-27T13").problems == [late]


HOURS = [f"2026-03-27T{hour}" for hour in range(10, 17)]


@pytest.mark.parametrize("seed", range(3))
def test_an_honest_delivery_is_complete_in_every_window_and_whatever_is_taken_away_is_seen(tmp_path, seed):
    """Partitions, hours, settings that change, duplicates, rubbish, manifests more often than hourly: as it comes."""
    random = Random(seed)
    writers = [Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(random.randint(1, 3))]
    for hour in range(6):
        for writer in writers:
            if random.random() < 0.3:
                one_of = {
                    "compression": ["none", "gzip", "zstd"],
                    "naming": ["offsets", "vendor"],
                    "users": [[], ["no"]],
                }
                chosen = {name: random.choice(values) for name, values in one_of.items()}
                writer.destination = parse("d", {"target": str(tmp_path), **chosen})
            for _ in range(random.randint(0, 3)):
                values = [sign_in(random.randint(0, 30)) for _ in range(random.randint(1, 6))]
                writer.deliver([*values, b"rubbish"][random.randint(0, 1) :], hour)
            writer.account(hour, partitions=len(writers))
            if random.random() < 0.3:
                writer.deliver([sign_in(99)], hour)
                writer.account(hour, partitions=len(writers))
    assert found(tmp_path).problems == []
    for since, until in combinations(HOURS, 2):
        assert found(tmp_path, since=since, until=until).problems == [], (since, until)
    files = sorted(f for f in tmp_path.rglob("*") if f.is_file())
    # A heartbeat that says that nothing came, and what only the last manifest of a partition tells, can be missing without loss or yet to come.
    last = {f.name[:14]: f for f in files if f.suffix == ".json" and "manifests" in f.parts}
    for file in files:
        body = file.read_bytes()
        if file in last.values() or (file.suffix == ".json" and b'"entries": []' in body):
            continue
        file.unlink()
        assert not found(tmp_path).ok, file
        file.write_bytes(body[:-1] + b"~")
        assert not found(tmp_path).ok, file
        file.write_bytes(body)


def test_who_stopped_goes_on_some_day(tmp_path):
    """A sync that ends well says so in the last manifest of each partition; it is no leave to be gone for ever."""
    one, two = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(2))
    for hour in range(3):
        for writer in (one, two)[: 2 - hour]:
            writer.account(hour, partitions=2, marker="started" if hour else "stopped")
    assert found(tmp_path).problems == []
    one.account(2, partitions=2)
    assert found(tmp_path).problems == [
        "authentication/1a2b3c4d-00001: nothing is accounted for after 2026-03-27T10, though other partitions go on to 2026-03-27T12"
    ]


def test_a_clock_that_ran_ahead_once_makes_nobody_late(tmp_path):
    """The hours of manifests never go back: one that was written hours ahead is followed by others that are."""
    ahead, right = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n)) for n in range(2))
    for hour in range(6):
        ahead.account(hour + 3, partitions=2, written=hour)
        right.account(hour, partitions=2)
    assert found(tmp_path).problems == []
    take_away(tmp_path, "hour=16/1a2b3c4d-00000-*", "hour=17/1a2b3c4d-00000-*", "hour=18/1a2b3c4d-00000-*")
    [problem] = found(tmp_path).problems
    assert (
        "00000: nothing is accounted for after 2026-03-27T12, though other partitions go on to 2026-03-27T15" in problem
    )


def test_a_backfill_is_complete_once_it_has_come_to_its_end(tmp_path):
    folder = "backfill/20260301T0000_20260302T0000/"
    one, two = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n, folder)) for n in range(2))
    one.deliver([sign_in(1)])
    one.account(partitions=2, marker="finished")
    two.deliver([sign_in(1)])
    for hour, last in enumerate(("started", "stopped")):
        two.account(hour, partitions=2, marker=last)
        assert found(tmp_path).problems == [
            f"{folder}authentication/1a2b3c4d-00001: the backfill has not come to its end; wait for it, give its command once more, or delete its folder"
        ]
    two.account(2, partitions=2, marker="finished")
    assert found(tmp_path).problems == []
    two.deliver([sign_in(2)])
    assert len(found(tmp_path).problems) == 1, "the command was given once more, and has not come to its end"
    two.account(3, partitions=2, marker="finished")
    assert found(tmp_path).problems == []
    for manifest in (tmp_path / folder / "manifests").rglob("*.json"):
        manifest.unlink()
    assert len(found(tmp_path).problems) == 1 + len(objects(tmp_path / folder)), "no manifest at all, and three objects"


@pytest.mark.parametrize(("folder", "wrong"), [("backfill/20260301T0000_20260302T0000/", 0), ("", 1)])
def test_only_a_partition_of_a_backfill_may_end_before_the_others(tmp_path, folder, wrong):
    one, two = (Writer(tmp_path, Place("authentication", "1a2b3c4d", n, folder)) for n in range(2))
    for hour in range(5):
        one.account(hour, partitions=2, marker="finished" if hour == 4 else "started")
    two.account(0, partitions=2, marker="finished")
    assert len(found(tmp_path).problems) == wrong
    assert len(found(tmp_path, since="2026-03-27T12").problems) == wrong, "what says so lies before these hours"


def test_the_destination_that_is_behind_says_how_far_all_are(tmp_path):
    places = [Place("authentication", "1a2b3c4d", 0), Place("authentication", "1a2b3c4d", 0, "other/")]
    done = Place("authentication", "1a2b3c4d", 0, "backfill/20260301T0000_20260302T0000/")
    for hour, place in ((5, places[0]), (2, places[1]), (0, done)):
        writer = Writer(tmp_path, place)
        writer.account(hour, marker="finished")
    assert (found(tmp_path / "backfill").through, found(tmp_path).through) == ("2026-03-27T10", "2026-03-27T12")


def test_the_claim_of_a_place_is_no_stranger(delivered, tmp_path):
    claim = delivered / "_activity" / "claim.json"
    claim.parent.mkdir()
    claim.touch()
    assert found(delivered).notes == found(tmp_path).notes == []


def test_objects_of_the_vendors_own_sync_are_left_alone(delivered, tmp_path):
    theirs = tmp_path / "theirs" / "authentication" / "2026-03-27T10:05:00+00:00.json.gz"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    seen = found(tmp_path)
    assert (seen.problems, seen.notes) == ([], ["1 objects are no part of a delivery and were left alone"])


def test_a_rule_may_delete_manifests_before_objects(tmp_path):
    for stream in ("99999999", "1a2b3c4d"):
        writer = Writer(tmp_path, Place("authentication", stream, 3))
        for hour in range(3):
            writer.deliver([sign_in(hour)], hour)
            writer.account(hour)
    take_away(tmp_path / "manifests", "99999999-*", "hour=10/*")
    seen = found(tmp_path, since="2026-03-27T11")
    assert [p for p in seen.problems if "hour=10" in p] == []
    assert len(seen.problems) == 2, "those of the hours that were asked for"


def test_a_kind_that_ends_before_the_others_is_told(tmp_path):
    one, two = (Writer(tmp_path, Place(kind, "1a2b3c4d", 0)) for kind in ("authentication", "network_access"))
    for hour in range(4):
        one.account(hour)
    two.account(0)
    seen = found(tmp_path)
    note = "network_access ends with 2026-03-27T10, though others go on to 2026-03-27T13: right if nobody asks for it any more"
    assert (seen.problems, seen.notes) == ([], [note])


@pytest.mark.parametrize("folder", ["", "backfill/20260301T0000_20260302T0000/"])
def test_a_delivery_can_be_verified_from_where_it_lies_and_from_above(tmp_path, folder):
    writer = Writer(tmp_path / "prefix", Place("authentication", "1a2b3c4d", 3, folder))
    writer.deliver([sign_in(1), b"rubbish"])
    writer.account(marker="finished")
    for place in (tmp_path, tmp_path / "prefix", tmp_path / "prefix" / folder):
        seen = found(place)
        assert (seen.problems, seen.events, seen.notes) == ([], 1, []), place
    objects(tmp_path / "prefix" / folder)[0].unlink()
    assert len(found(tmp_path / "prefix" / folder).problems) == 1


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("naming", ["offsets", "vendor"])
def test_every_compression_and_naming_can_be_verified(tmp_path, compression, naming):
    writer = Writer(tmp_path, compression=compression, naming=naming)
    writer.deliver([sign_in(n) for n in range(3)])
    writer.deliver([sign_in(n) for n in range(3)])
    writer.account()
    seen = found(tmp_path)
    assert (seen.problems, seen.events) == ([], 6)


def test_another_attempt_may_be_what_lies_there(tmp_path):
    """Settings changed between a put whose answer was lost and its repetition: either object is right, with the rejects of its own attempt."""
    writer = Writer(tmp_path)
    records = [record(0, sign_in(1)), record(1, b"rubbish"), record(2, sign_in(2))]
    batch, smaller = Batch(0, 0), Batch(0, 0)
    Former("authentication", writer.destination).take(batch, records, decode_authentications(records))
    cut, documents = cut_of(batch, PLACE, writer.destination, hour=0, window=0, begun=False, at=NOW)
    other = parse("d", {"target": str(tmp_path), "users": ["nobody"]})
    Former("authentication", other).take(smaller, records, decode_authentications(records))
    again, _ = attempt_of(smaller, cut, PLACE, other)
    writer.put(cut, documents, again)
    writer.account()
    assert found(tmp_path).problems == []
    (tmp_path / cut.key).unlink()
    assert found(tmp_path).problems == [], "the other attempt has no events, only rejects"


@pytest.mark.parametrize(
    "values", [[sign_in(1), b"rubbish"], [b"rubbish"]], ids=["events and rejects", "rejects alone"]
)
def test_attempts_may_differ_in_their_rejects_alone(tmp_path, values):
    """Whoever cut died before its put, and whoever put it packed the rejects into other bytes: what lies there is complete."""
    writer = Writer(tmp_path)
    records = [record(n, value) for n, value in enumerate(values)]

    def batch():
        made = Batch(0, 0)
        Former("authentication", writer.destination).take(made, records, decode_authentications(records))
        return made

    cut, _ = cut_of(batch(), PLACE, writer.destination, hour=0, window=0, begun=False, at=NOW)
    other = batch()
    other.rejects = other.rejects.replace(b'"$"', b'"here"')
    again, documents = attempt_of(other, cut, PLACE, writer.destination)
    assert again.events == cut.attempt.events
    writer.put(cut, documents, again)
    writer.account()
    seen = found(tmp_path)
    assert (seen.problems, seen.rejects, seen.events) == ([], 1, len(values) - 1)
    objects(tmp_path, "errors")[0].unlink()
    assert len(found(tmp_path).problems) == 1, "no attempt's rejects are there"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_object_that_cannot_be_unpacked_is_read_to_its_end(tmp_path, compression):
    writer = Writer(tmp_path, compression=compression)
    writer.deliver([sign_in(n) for n in range(50)])
    writer.account()
    file = next((tmp_path / "authentication").rglob("*.ndjson.*"))
    file.write_bytes(b"\0" * (verify.CHUNK + 1))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert [p for p in found(tmp_path).problems if f"has SHA-256 {digest}, the manifest says" in p]


def test_an_object_is_unpacked_in_bounded_pieces():
    """One MiB that says many GiB."""
    packer = zstandard.ZstdCompressor().compressobj()
    blocks = [packer.compress(bytes(1 << 24)) for _ in range(64)]
    packed = b"".join([*blocks, packer.flush()])
    sizes = list(map(len, verify._unpacker("x.zst")(iter([packed]))))
    assert (sum(sizes), len(packed) < verify.CHUNK) == (1 << 30, True)
    assert max(sizes) <= 16 << 20


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("change", [lambda body: body + body, lambda body: body[:-1]], ids=["more", "less"])
def test_a_packed_object_is_whole_and_nothing_is_kept_of_what_follows_its_end(tmp_path, compression, change):
    pack = {"gzip": gzip.compress, "zstd": zstandard.compress}[compression]
    unpack = verify._unpacker("x" + {"gzip": ".gz", "zstd": ".zst"}[compression])
    pieces = iter([change(pack(b"one\n")), b"\0", b"\0"])
    with pytest.raises(ValueError, match=r"."):
        list(unpack(pieces))
    writer = Writer(tmp_path, compression=compression)
    writer.deliver([sign_in(1)])
    writer.account()
    file = next((tmp_path / "authentication").rglob("*.ndjson.*"))
    file.write_bytes(change(file.read_bytes()))
    told = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
    _rewrite(tmp_path, lambda m: m["entries"][1]["objects"][0].update(told))
    assert [p.split("/")[-1] for p in found(tmp_path).problems] == [f"{file.name} cannot be unpacked"]


def test_files_that_are_no_objects_are_left_alone(delivered):
    (delivered / "points nowhere").symlink_to("/nowhere/at/all")
    (delivered / "round in a circle").symlink_to(delivered)
    for one, other in (("a", "b"), ("b", "a")):
        (delivered / one).mkdir()
        (delivered / one / "round").symlink_to(delivered / other, target_is_directory=True)
    Path(os.fsdecode(os.fsencode(delivered) + b"/caf\xe9.txt")).touch()
    seen = found(delivered)
    assert (seen.problems, seen.notes) == ([], ["1 objects are no part of a delivery and were left alone"])
    assert "\n".join(verify.lines_of(seen)).encode()


class GoingOn(verify.Directory):
    """Lists folder by folder, as S3 does; once, before it comes to the folder `when`, something is delivered."""

    def __init__(self, path: Path, when: str, deliver: Callable[[], None]) -> None:
        super().__init__(str(path))
        self.when, self.deliver = when, deliver

    def keys(self) -> Iterator[str]:
        for folder in ("authentication", "errors", "manifests", "network_access"):
            if folder == self.when:
                self.deliver()
                self.when = ""
            yield from (key for key in sorted(super().keys()) if key.startswith(folder))


class Torn(verify.Directory):
    """Between two pages of its first listing one manifest comes where it has been, and another where it is going."""

    def __init__(self, path: Path, deliver: Callable[[], None]) -> None:
        super().__init__(str(path))
        self.deliver = deliver

    def keys(self) -> Iterator[str]:
        before = sorted(super().keys())
        yield from before
        self.deliver()
        self.deliver = lambda: None
        yield from (key for key in sorted(super().keys()) if key > before[-1] and "hour=12" in key)


def test_a_manifest_that_came_where_the_listing_had_been_is_not_missing(tmp_path):
    writer = Writer(tmp_path)
    for hour in range(2):
        writer.deliver([sign_in(hour)], hour)
        writer.account(hour)

    def deliver() -> None:
        for hour in (1, 2):
            writer.deliver([sign_in(9)], hour)
            writer.account(hour)

    assert verify.Verifier(Torn(tmp_path, deliver)).run().problems == []


def test_a_plain_name_says_nothing_of_the_stream(tmp_path):
    """A topic is made anew while objects of the old one have no manifest yet."""
    old = Writer(tmp_path, naming="vendor")
    for hour in range(3):
        old.deliver([sign_in(hour)], hour)
        if hour == 0:
            old.account()
    assert (found(tmp_path).problems, len(found(tmp_path).notes)) == ([], 1)
    new = Writer(tmp_path, Place("authentication", "99999999", 3), naming="vendor")
    for hour in (4, 5):
        new.deliver([sign_in(9)], hour)
        new.account(hour)
    seen = found(tmp_path)
    assert seen.problems == []
    assert seen.notes == ["2 objects may be named by manifests that are not there or cannot be read"]


@pytest.mark.parametrize(
    ("kind", "when"),
    [("authentication", "manifests"), ("network_access", "network_access")],
    ids=["object", "manifest"],
)
def test_a_delivery_may_go_on_meanwhile(tmp_path, kind, when):
    """An object comes after its folder was listed, before its manifest is; a kind begins after manifests were listed."""
    writer, new = Writer(tmp_path), Writer(tmp_path, Place(kind, "1a2b3c4d", 4))
    writer.account()

    def deliver() -> None:
        new.account()
        new.deliver([sign_in(1)])
        new.account()

    seen = verify.Verifier(GoingOn(tmp_path, when, deliver)).run()
    assert (seen.problems, seen.objects) == ([], 1 if when == "manifests" else 0)
    assert found(tmp_path).objects == 1


class Breaking(verify.Directory):
    """Breaks off in the middle of the first objects that are read."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__(str(path))
        self.times = times

    def read(self, key: str) -> Iterator[bytes]:
        yield from super().read(key)
        if self.times:
            self.times -= 1
            raise verify.Broken("reset")


def test_what_breaks_off_is_read_once_more_and_given_up_in_one_line(delivered, monkeypatch):
    monkeypatch.setattr(verify, "PAUSES", (0.0, 0.0))
    seen = verify.Verifier(Breaking(delivered, 2)).run()
    assert (seen.problems, seen.events) == ([], 30)
    assert verify.Verifier(Breaking(delivered, 3)).run().problems == ["reset"]
    with pytest.raises(verify.Unreadable, match="reset"):
        verify.Verifier(Breaking(delivered, 9)).run()
    take_away(delivered, "hour=11/*.json", "hour=12/*.json")
    with pytest.raises(verify.Unreadable, match="reset"):
        verify.Verifier(Breaking(delivered, 3)).run()


class Locked(verify.Directory):
    """Nobody may read its objects."""

    def read(self, key: str) -> Iterator[bytes]:
        if not key.startswith("manifests/"):
            raise verify.Broken(f"{key} cannot be read (AccessDenied)")
        return super().read(key)


def test_objects_that_cannot_be_read_are_named_and_too_many_in_a_row_end_it(delivered, monkeypatch):
    monkeypatch.setattr(verify, "PAUSES", ())
    locked = verify.Verifier(Locked(str(delivered))).run()
    assert len([p for p in locked.problems if p.endswith("cannot be read (AccessDenied)")]) == 6
    monkeypatch.setattr(verify, "GIVE_UP", (2, 1))
    given_up = verify.Verifier(Locked(str(delivered)))
    with pytest.raises(verify.Unreadable, match="AccessDenied"):
        given_up.run()


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.mark.parametrize("bucket", ["boto3", "our door"])
def test_an_object_that_went_or_is_put_away_is_a_finding_beside_the_others(delivered, moto, monkeypatch, bucket):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setattr(verify, "PAUSES", ())
    name = bucket.replace(" ", "-")
    place = verify.Bucket(f"s3://{name}", endpoint_url=moto, region_name="us-east-1")
    if bucket == "our door":
        place = Delivered(of_url(f"s3://{name}", endpoint=moto, region="us-east-1"))
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    went, put_away, *_ = (str(file.relative_to(delivered)) for file in objects(delivered))
    listed = list(verify.Directory(str(delivered)).keys())
    for key in listed:
        kept = {"StorageClass": "GLACIER"} if key == put_away else {}
        client.put_object(Bucket=name, Key=key, Body=(delivered / key).read_bytes(), **kept)
    assert sorted(place.keys()) == sorted(listed)
    monkeypatch.setattr(place, "keys", lambda: iter(listed))
    client.delete_object(Bucket=name, Key=went)
    missing, closed = verify.Verifier(place).run().problems
    assert missing.endswith(f"{went} is missing")
    assert f"{put_away} cannot be read" in closed
    assert "InvalidObjectState" in closed


def test_the_file_alone_is_enough(delivered, tmp_path):
    file = tmp_path / "verify.py"
    shutil.copy(verifier(), file)
    alone = [sys.executable, "-I", "-S", str(file), str(delivered)]
    done = subprocess.run(alone, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "complete up to 2026-03-27T12: no gap, no overlap, every hash and count right",
    )
    missing_object(delivered)
    done = subprocess.run(alone, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "NOT COMPLETE" in done.stdout


def alone(where: Path, **how) -> subprocess.Popen:
    """The file as a customer runs it."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(verifier()), str(where)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how,
    )


def test_whoever_reads_may_go_and_may_have_few_letters(delivered, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    nobody = alone(delivered, stdout=writing)
    os.close(writing)
    assert (nobody.communicate()[1], nobody.returncode) == (b"", 0)
    missing_object(delivered)
    shutil.copytree(delivered, tmp_path / "there" / "caf\xe9")
    few = [sys.executable, str(verifier()), str(tmp_path / "there")]
    done = subprocess.run(few, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.startswith(b"WRONG: caf\\xe9/authentication/1a2b3c4d-00003 [")


def test_who_interrupts_it_does_not_wait_for_what_is_being_read(tmp_path):
    writer = Writer(tmp_path, compression="none")
    writer.deliver([sign_in(1)])
    writer.account()
    endless = next((tmp_path / "authentication").rglob("*.ndjson"))
    with endless.open("r+b") as file:
        file.truncate(1 << 40)
    running = alone(tmp_path)

    def reading() -> bool:
        try:
            return any(fd.readlink() == endless for fd in Path(f"/proc/{running.pid}/fd").iterdir())
        except FileNotFoundError:  # one that was closed meanwhile
            return False

    try:
        eventually(reading)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, out, err) == (130, b"", b"")


def test_no_room_for_names_is_one_line(delivered):
    for n in range(100):
        (delivered / f"{'x' * 200}{n}").touch()
    cramped = verify.Verifier(verify.Directory(str(delivered)))
    cramped._db.execute("PRAGMA max_page_count = 8")
    with pytest.raises(verify.Unreadable, match=r"cannot be kept \(database or disk is full\); let TMPDIR name"):
        cramped.run()


def test_what_cannot_be_read_is_one_line_and_another_exit_code(tmp_path, capsys):
    assert verify.main([str(tmp_path / "nowhere")]) == 2
    assert "is not a directory" in capsys.readouterr().err
    # A port that nobody listens on: the vendor's library gives up, and says so in its own words.
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
    )
    with pytest.raises(verify.Unreadable, match=r"s3://bucket/x cannot be listed \(EndpointConnectionError\)"):
        verify.Verifier(verify.Bucket("s3://bucket/x", client=client)).run()


def test_a_server_that_hangs_up_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(65536)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="y",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with pytest.raises(verify.Unreadable, match=r"s3://bucket/x cannot be listed \(ConnectionClosedError\)"):
            verify.Verifier(verify.Bucket("s3://bucket/x", client=client)).run()


def test_an_endpoint_that_is_none_is_one_line(capsys):
    assert verify.main(["s3://bucket/x", "--endpoint-url", "localhost:9000"]) == 2
    assert capsys.readouterr().err == "s3://bucket/x cannot be reached: Invalid endpoint: localhost:9000\n"


def test_hours_are_those_that_hold_the_stretch(delivered, capsys):
    assert verify.main([str(delivered), "--from", "2026-03-27T10:30", "--to", "2026-03-27T10:45"]) == 0
    assert "1 manifests" in capsys.readouterr().out
    assert verify.hour_of("2026-03-27T11:00", up=True) == "2026-03-27T11"
    with pytest.raises(SystemExit):
        verify.main([str(delivered), "--from", "0001-01-01T00:00+14:00"])
    assert "--from and --to are days or instants" in capsys.readouterr().err
