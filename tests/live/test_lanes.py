"""Two owners of one partition at once, each step of theirs in a chosen order."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from deploy.local.stack import Stack
from exporters.sinks.check import CLAIM_KEY
from exporters.sinks.directory import DirectorySink
from exporters.sinks.sink import Outcome
from exporters.sync import cuts, keys, lane, verify
from exporters.sync.batches import Former, Place
from exporters.sync.destinations import parse
from exporters.sync.door import Door
from exporters.sync.kafka import CutLog, TopicPartition, bounds, events_consumer
from exporters.sync.lane import Delivery, Lane
from pipeline import clock, topics
from pipeline.errors import Refused
from pipeline.model.times import iso
from tests.live.system import Servers, eventually

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("lanes")]

TP = TopicPartition("activity.authentications", 0)
EVENTS = 20
# The other partitions are nobody's here.
OTHERS = ["7 partitions of authentication/5eed0000 have no manifest yet"]


class Owner:
    """A lane with clients of its own; it moves only when it is told to."""

    def __init__(self, settings, destination, work, door=None, name="two", **delivery):
        self.consumer = events_consumer(settings, group=None, client="lane")
        self.consumer.assign([TP])
        self.log = CutLog(settings, topics.SYNC.name(prefix=settings.topic_prefix, app=settings.app_id))
        self.delivery = Delivery(
            name=name, destination=destination, settings=settings, door=door or Door(destination.target, lambda: name), log=self.log, work=work,
            bounds=lambda tp: bounds(self.consumer, [tp])[tp], commit=lambda *_: None, start=lambda _tp, begin, _end: begin, delivered=lambda _: None, **delivery,
        )  # fmt: skip
        place = Place("authentication", "5eed0000", 0, self.delivery.folder)
        self.lane = Lane(self.delivery, TP, place, self.consumer, None)

    def move(self):
        for records in self.log.poll(20).values():
            self.lane.read(records)
        for records in self.consumer.poll(timeout_ms=20).values():
            self.lane.take(records, lambda _tp: 0)
        while self.lane.turn():
            pass

    def until(self, what):
        eventually(what, look=self.move)

    @property
    def rests(self):
        return isinstance(self.lane._effect, cuts.Next)

    def close(self):
        self.log.close()
        self.consumer.close(autocommit=False)
        self.delivery.door.close()


@pytest.fixture
def servers(tmp_path):
    with Servers(Stack(tmp_path / "data", servers_only=True)) as running:
        yield running


def test_who_stops_last_tells_in_a_manifest_what_another_delivered_before_him(servers, tmp_path):
    user = {"id": "1", "email": "user@example.com"}
    for number in range(EVENTS):
        event = {"id": str(number), "time": "2026-03-27T10:00:00Z", "action": {"type": "reauth", "user": user}}
        servers.producer.send(TP.topic, partition=0, value=json.dumps(event).encode())
    servers.producer.flush()
    target = {"kind": "directory", "path": str(tmp_path / "objects")}
    destination = parse("two", {"target": target, "idle_seconds": 600, "age_seconds": 600})
    with ThreadPoolExecutor(2) as work:
        first, last = Owner(servers.settings, destination, work), Owner(servers.settings, destination, work)
        try:
            for owner in (first, last):
                owner.until(lambda owner=owner: owner.lane.can_cut and owner.lane._batch.records == EVENTS)
            first.lane.cut_now()
            first.until(lambda: first.lane.chain.through == EVENTS and first.rests)
            first.lane.close()  # killed: it says nothing more
            last.lane.stop()
            last.until(lambda: last.lane.done)
        finally:
            first.close()
            last.close()
    found = verify.Verifier(verify.Directory(str(tmp_path / "objects"))).run()
    assert (found.problems, found.notes) == ([], OTHERS)
    assert [told["end"] for told in found.chains.values()] == [EVENTS]


def test_who_stops_takes_nothing_more_in(servers, tmp_path):
    event = {"time": "2026-03-27T10:00:00Z", "action": {"type": "reauth", "user": {"id": "1"}}}

    def produce():
        servers.producer.send(TP.topic, partition=0, value=json.dumps(event).encode())
        servers.producer.flush()

    produce()
    with ThreadPoolExecutor(2) as work:
        owner = Owner(servers.settings, parse("two", {"target": str(tmp_path / "objects")}), work)
        try:
            owner.until(lambda: owner.lane.can_cut)
            owner.lane.stop()

            def move():
                produce()
                owner.move()

            eventually(lambda: owner.lane.done, look=move)
            assert owner.lane.chain.through == 1
        finally:
            owner.close()


def test_what_has_an_end_says_so_after_all_else_and_not_again_if_nothing_has_come(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "MANIFEST_ENTRIES", 1)  # one is due while the last batch is still in hand
    user = {"id": "1", "email": "user@example.com"}
    for number in range(EVENTS):
        event = {"id": str(number), "time": "2026-03-27T10:00:00Z", "action": {"type": "reauth", "user": user}}
        servers.producer.send(TP.topic, partition=0, value=json.dumps(event).encode())
    servers.producer.flush()
    objects = tmp_path / "objects"
    destination = parse("two", {"target": str(objects), "cut_events": EVENTS // 2})
    bounded = {"until": {TP: EVENTS}, "backfill": "20260327T0000_20260328T0000"}
    for _ in range(2):
        with ThreadPoolExecutor(2) as work:
            owner = Owner(servers.settings, destination, work, **bounded)
            try:
                owner.until(lambda owner=owner: owner.lane.done)
            finally:
                owner.close()
        manifests = [json.loads(file.read_bytes()) for file in objects.rglob("manifests/**/*.json")]
        last = max(manifests, key=lambda m: (m["hour"], m["first"], m["end"]))
        assert (len(manifests), sum(any(x["what"] == "finished" for x in m["markers"]) for m in manifests)) == (3, 1)
        assert (last["end"], last["markers"][-1]["what"], last["partitions"]) == (EVENTS, "finished", 1)
        found = verify.Verifier(verify.Directory(str(objects))).run()
        assert (found.problems, found.notes, found.events) == ([], [], EVENTS)


def test_an_hour_without_events_has_its_manifest_also_after_a_clock_that_ran_ahead(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "HEARTBEAT_SECONDS", 0.5)
    ahead = keys.hour_of(clock.now_ms()) + 10 * 365 * 24 * keys.HOUR_MS
    destination = parse("two", {"target": str(tmp_path / "objects")})
    with ThreadPoolExecutor(2) as work:
        owner = Owner(servers.settings, destination, work)
        try:
            owner.until(lambda: owner.lane.chain.end == 0 and owner.rests)
            owner.log.append(owner.lane._id, cuts.Manifest(0, 0, ahead, ahead)).get(timeout=30)
            owner.until(lambda: owner.lane.chain.manifest_hour > ahead and owner.rests)
        finally:
            owner.close()
    told = [json.loads(file.read_bytes()) for file in sorted((tmp_path / "objects" / "manifests").rglob("*.json"))]
    by_hour = {m["hour"]: m for m in told}
    assert by_hour[iso(ahead + keys.HOUR_MS)]["written_at"] < by_hour[iso(ahead)]["written_at"] == iso(ahead)
    found = verify.Verifier(verify.Directory(str(tmp_path / "objects"))).run()
    assert found.problems == [], "by the time at which they were written the other partitions are not late"


class Surprising(Door):
    """Fails in a way that nobody foresaw, until it is `well`."""

    well = False

    def create(self, document):
        if not self.well:
            raise RuntimeError("nobody foresaw this")
        return super().create(document)


def test_what_nobody_foresaw_needs_attention_at_its_own_destination_and_is_tried_again(servers, tmp_path, monkeypatch):
    monkeypatch.setattr(lane, "REFUSED_SECONDS", 0.1)
    event = {"time": "2026-03-27T10:00:00Z", "action": {"type": "reauth", "user": {"id": "1"}}}
    servers.producer.send(TP.topic, partition=0, value=json.dumps(event).encode())
    servers.producer.flush()
    target = {"kind": "directory", "path": str(tmp_path / "objects")}
    destination = parse("two", {"target": target, "idle_seconds": 1, "manifest_seconds": 1})
    with ThreadPoolExecutor(2) as work:
        door = Surprising(destination.target, lambda: "two")
        owner = Owner(servers.settings, destination, work, door)
        try:
            owner.until(lambda: owner.lane.problem is not None)
            assert "RuntimeError, which is a bug" in str(owner.lane.problem)
            door.well = True
            owner.until(lambda: owner.lane.chain.unaccounted == (1, 1) and owner.rests)
            assert owner.lane.problem is None
        finally:
            owner.close()
    found = verify.Verifier(verify.Directory(str(tmp_path / "objects"))).run()
    assert (found.events, found.problems) == (1, [])  # the other partitions may still come


def test_since_when_a_cut_waits_is_known_to_its_owner_and_to_the_next_one(servers, tmp_path):
    event = {"time": "2026-03-27T10:00:00Z", "action": {"type": "reauth", "user": {"id": "1"}}}
    servers.producer.send(TP.topic, partition=0, value=json.dumps(event).encode())
    servers.producer.flush()
    destination = parse("two", {"target": str(tmp_path / "objects")})
    with ThreadPoolExecutor(2) as work:
        doors = [Surprising(destination.target, lambda: "two") for _ in range(2)]
        doors[0].well = True
        owners = [Owner(servers.settings, destination, work, door) for door in doors]
        try:
            owners[0].until(lambda: owners[0].lane.can_cut and owners[0].rests)
            since = owners[0].lane.waiting_since
            doors[0].well = False
            owners[0].lane.cut_now()
            for owner in owners:
                owner.until(lambda owner=owner: owner.lane.problem)
                assert owner.lane.waiting_since == since > 0
        finally:
            for owner in owners:
                owner.close()


class SurprisingFormer(Former):
    def take(self, *_args, **_kwargs):
        raise ValueError("nobody foresaw this")


def test_a_surprise_while_a_cut_is_formed_again_is_not_taken_for_retention(servers, tmp_path):
    """That it cannot be formed is a bug; that its source is gone would be written down for ever."""
    servers.producer.send(TP.topic, partition=0, value=b"x")
    servers.producer.flush()
    destination = parse("two", {"target": str(tmp_path / "objects")})
    cut = cuts.Cut(0, 1, cuts.EVENTS, "k.ndjson.gz", 0, 0, 0)
    with ThreadPoolExecutor(2) as work:
        owner = Owner(servers.settings, destination, work)
        try:
            assert owner.lane._from_source(cut)[0].rejects.lines == 1
            owner.lane._former = SurprisingFormer("authentication", destination)
            with pytest.raises(ValueError, match="nobody foresaw"):
                owner.lane._from_source(cut)
        finally:
            owner.close()


class Blind(DirectorySink):
    """One whose user may put and not look, as with `s3:PutObject` alone."""

    def create(self, document):
        receipt = super().create(document)
        return receipt if receipt.outcome is Outcome.STORED else replace(receipt, sha256=None)

    def exists(self, key):
        raise Refused("403 AccessDenied")


def test_another_name_is_refused_also_where_nobody_may_look_and_may_go_on_once_the_claim_is_gone(
    servers, tmp_path, monkeypatch
):
    monkeypatch.setattr(lane, "REFUSED_SECONDS", 0.1)
    objects = tmp_path / "objects"
    destination = parse("two", {"target": str(objects)})
    with ThreadPoolExecutor(2) as work, ExitStack() as owners:

        def owner(name):
            door = Door(destination.target, lambda: name)
            door._sink = Blind(objects)
            return owners.enter_context(closing(Owner(servers.settings, destination, work, door, name)))

        for one in (owner("before"), owner("before")):  # the second is who starts again
            one.until(lambda one=one: one.lane.chain.end == 0 and one.rests and not one.lane.chain.accounts)
        after = owner("after")
        after.until(lambda: after.lane.problem)
        assert "holds what destination before delivered" in str(after.lane.problem)
        assert after.lane.chain.end is None
        (objects / CLAIM_KEY).unlink()
        after.until(lambda: after.lane.chain.end == 0 and after.rests)


def test_what_an_earlier_version_delivered_without_a_claim_is_its_own_still_and_no_others(
    servers, tmp_path, monkeypatch
):
    monkeypatch.setattr(lane, "REFUSED_SECONDS", 0.1)
    destination = parse("two", {"target": str(tmp_path / "objects")})
    with ThreadPoolExecutor(2) as work, ExitStack() as owners:

        def owner(name, door=None):
            door = door or Door(destination.target, lambda: name)
            return owners.enter_context(closing(Owner(servers.settings, destination, work, door, name)))

        earlier = owner("before", DirectorySink(tmp_path / "objects"))
        earlier.until(lambda: earlier.lane.chain.end == 0 and earlier.rests)
        after = owner("after")
        after.until(lambda: after.lane.problem)
        assert "holds what destination before delivered" in str(after.lane.problem)
        servers.producer.send(TP.topic, partition=0, value=b"x")
        servers.producer.flush()
        before = owner("before")
        before.until(lambda: before.lane.can_cut)
        before.lane.cut_now()
        before.until(lambda: before.lane.chain.through == 1 and before.rests)
        assert b"before" in (tmp_path / "objects" / CLAIM_KEY).read_bytes()
        after.until(lambda: "is claimed by before:" in str(after.lane.problem))
