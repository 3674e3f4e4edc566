"""The verifier sees every way in which a delivery can be wrong, from the bucket alone and as one file."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.config import Config

from exporters.sinks.directory import DirectorySink
from exporters.sync import cuts, manifests, verify
from exporters.sync.app import verifier
from exporters.sync.batches import Batch, Former, Place, attempt_of, cut_of
from exporters.sync.cuts import Chain, Cut, Manifest, Marker
from exporters.sync.destinations import parse
from pipeline.model.dialects import decode_authentications

HOUR = 3_600_000
NOW = 1_774_605_600_000 // HOUR * HOUR
PLACE = Place("authentication", "1a2b3c4d", 3)


def sign_in(n: int) -> bytes:
    return b'{"time":"2026-03-27T10:00:00Z","id":"%d","action":{"type":"client_login","user":{"id":"1"}}}' % n


def record(offset: int, value: bytes) -> SimpleNamespace:
    return SimpleNamespace(offset=offset, value=value, timestamp=NOW + offset, partition=3, headers=())


class Writer:
    """A delivery as the protocol makes it, without Kafka: every cut is delivered at once."""

    def __init__(self, path: Path, **settings) -> None:
        self.destination = parse("d", {"target": str(path), **settings})
        self.sink, self.chain, self.at = DirectorySink(path), Chain(), 0
        self.say(Cut(0, 0, cuts.START))

    def say(self, record: cuts.Record) -> int:
        self.chain.read(self.at, cuts.decode(cuts.encode(record)))
        self.at += 1
        return self.at - 1

    def deliver(self, values: list[bytes]) -> None:
        first = self.chain.end
        records = [record(first + n, value) for n, value in enumerate(values)]
        batch = Batch(first, first)
        Former("authentication", self.destination).take(batch, records, decode_authentications(records))
        cut, documents = cut_of(batch, PLACE, self.destination, hour=0, window=self.chain.window, begun=True, at=NOW)
        self.put(cut, documents)

    def put(self, cut: Cut, documents: dict, *others: cuts.Attempt) -> None:
        """A cut, other attempts at it, and the documents of one of them."""
        at = self.say(cut)
        for attempt in others:
            self.say(cuts.Again(at, attempt))
        for document in documents.values():
            self.sink.create(document)
        self.say(cuts.Ended(at))

    def account(self, hour: int = 0) -> None:
        begin, through = self.chain.unaccounted
        self.say(Marker("started", NOW))
        at = self.say(Manifest(begin, through, NOW + hour * HOUR, NOW))
        self.sink.create(manifests.document(self.chain.accounts[0], PLACE, "d", "activity.authentications"))
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
    assert seen.chains == {"authentication/1a2b3c4d-00003": {"first": 0, "end": 33, "named": 33}}


def missing_object(path):
    objects(path)[2].unlink()


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
    def change(m):
        entry = m["entries"][1]
        m["entries"][1] = {"kind": "lost", "first": entry["first"], "end": entry["end"], "objects": []}

    _rewrite(path, change)


def rubbish_for_a_manifest(path):
    sorted((path / "manifests").rglob("*.json"))[1].write_bytes(b"{")


def an_entry_that_says_nothing(path):
    _rewrite(path, lambda m: m["entries"][1].pop("events"))


def _rewrite(path, change):
    file = min((path / "manifests").rglob("*.json"))
    told = json.loads(file.read_bytes())
    change(told)
    file.write_text(json.dumps(told))


WRONG = {
    missing_object: "is missing",
    missing_rejects: "is missing",
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
}


@pytest.mark.parametrize("break_it", WRONG, ids=lambda b: b.__name__)
def test_whatever_is_wrong_is_named(delivered, break_it):
    break_it(delivered)
    seen = found(delivered)
    assert not seen.ok
    assert any(WRONG[break_it] in p for p in seen.problems), seen.problems


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


def test_what_no_manifest_tells_yet_is_said_and_is_no_fault(tmp_path):
    writer = Writer(tmp_path)
    writer.deliver([sign_in(1)])
    writer.account()
    writer.deliver([sign_in(2)])
    seen = found(tmp_path)
    assert (seen.ok, seen.objects) == (True, 1)
    assert "1 objects are newer than the last manifest and not verified yet" in seen.notes


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


def test_the_file_alone_is_enough(delivered, tmp_path):
    file = tmp_path / "verify.py"
    shutil.copy(verifier(), file)
    alone = [sys.executable, "-I", "-S", str(file), str(delivered)]
    done = subprocess.run(alone, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "complete: no gap, no overlap, every hash and count right",
    )
    missing_object(delivered)
    done = subprocess.run(alone, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "NOT COMPLETE" in done.stdout


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
