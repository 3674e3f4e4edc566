"""Random histories around the cuts: owners that die, freeze, wake up and overlap; lost replies; code and settings that change; retention.

One source partition, one log of cuts, one bucket, one commit.  What an offset is to the code of an owner (event, reject, hole) may change with the
code, what is wanted with the settings.  After each history the bucket is compared with the source by code that knows nothing of the protocol.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from exporters.sync import cuts
from exporters.sync.cuts import Attempt, Chain, Cut, Manifest, Marker, Part

# What an offset is: to everyone, or to even and odd code differently.
KINDS = ("event", "event", "event", "reject", "hole", "event or reject", "reject or event")


def reads(kind: str, code: int) -> str:
    first, _, second = kind.partition(" or ")
    return second if second and code % 2 else first


@dataclass
class Made:
    attempt: Attempt
    bodies: dict[str, Any]  # key: offsets


def make(kinds: list[str], first: int, end: int, code: int, settings: int) -> Made:
    """The documents of [first, end) as this code under these settings makes them."""
    events, rejects, filtered, gaps = [], [], 0, 0
    for offset in range(first, end):
        kind = reads(kinds[offset], code)
        if kind == "reject":
            rejects.append(offset)
        elif kind == "hole":
            gaps += 1
        elif settings == 2 or (settings == 1 and offset % 3 == 0):
            filtered += 1
        else:
            events.append(offset)
    bodies: dict[str, Any] = {}
    parts: list[Part | None] = []
    for name, offsets in (("events", events), ("rejects", rejects)):
        if not offsets:
            parts.append(None)
            continue
        body = (name, code // 2, tuple(offsets))  # other code may also write the same events in other bytes
        key = f"{name}/{first}-{end}" + (f"-{hash(body)}" if name == "rejects" else "")
        bodies[key] = body
        parts.append(Part(key, repr(body), len(offsets), len(offsets)))
    return Made(Attempt(parts[0], parts[1], filtered=filtered, gaps=gaps), bodies)


@dataclass
class Owner:
    """A pump for one partition, one effect at a time: others may act in between."""

    world: World
    code: int
    settings: int
    chain: Chain | None = None
    script: Any = None
    effect: Any = None
    made: dict[tuple[int, int], Made] = field(default_factory=dict)
    bodies: list[tuple[str, Any]] | None = None  # what of a Put is left to do

    def step(self) -> None:
        world = self.world
        if self.chain is None:
            self.chain = Chain(world.commit)
            world.feed(self.chain, len(world.log) - 1)
            self.script = cuts.own(self.chain)
            self.effect = next(self.script)
            return
        answer = self.perform(self.effect)
        if answer is not Ellipsis:
            self.effect = self.script.send(answer)

    def perform(self, effect: Any) -> Any:
        """Answer one effect; Ellipsis: not yet."""
        world, chain, rng = self.world, self.chain, self.world.rng
        match effect:
            case cuts.Append(record):
                world.log.append(cuts.decode(cuts.encode(record)))
                if rng.random() < 0.05:
                    return ...  # the reply was lost: it is sent again
                return len(world.log) - 1
            case cuts.Read(through):
                world.feed(chain, through)
            case cuts.Make(cut):
                held = self.made.get((cut.first, cut.end))
                if held is None and cut.first < world.begin:
                    return None
                if held is None:
                    held = self.made[cut.first, cut.end] = make(
                        world.source, cut.first, cut.end, self.code, self.settings
                    )
                return held.attempt
            case cuts.Put(entry, attempt):
                return self.put(entry.cut, attempt)
            case cuts.Publish(account):
                world.publish(account)
                if rng.random() < 0.2:
                    return ...
            case cuts.Commit(point, through):
                world.committing(point, through)
            case cuts.Next(first):
                return self.next(first)
        return None

    def put(self, cut: Cut, attempt: Attempt) -> Any:
        if self.bodies is None:
            bodies = self.made[cut.first, cut.end].bodies
            self.bodies = [(p.key, bodies[p.key]) for p in attempt.parts]
        if self.bodies:
            self.world.create(*self.bodies[0])
            if self.world.rng.random() < 0.2:
                return ...  # stored, and the reply was lost
            del self.bodies[0]
        if self.bodies:
            return ...
        self.bodies = None
        return None

    def next(self, first: int | None) -> Any:
        world, rng, chain = self.world, self.world.rng, self.chain
        self.made.clear()
        if first is None:
            start = world.begin if rng.random() < 0.7 else len(world.source)
            return Cut(start, start, cuts.START)
        if rng.random() < 0.2:
            return Marker(rng.choice(("paused", "resumed")), at=world.hour)
        begin, through = chain.unaccounted
        if rng.random() < 0.25 and (through > begin or world.hour > chain.manifest_hour):
            return Manifest(begin, through, max(world.hour, chain.manifest_hour), at=world.hour)
        if first < world.begin:
            return Cut(first, world.begin, cuts.LOST)
        if first == len(world.source):
            return ...
        end = min(len(world.source), first + rng.randint(1, 5))
        made = make(world.source, first, end, self.code, self.settings)
        self.made[first, end] = made
        return Cut(first, end, attempt=made.attempt)


class World:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.source: list[str] = []
        self.begin = 0
        self.hour = 1
        self.log: list[cuts.Record] = []
        self.bucket: dict[str, Any] = {}
        self.commit: cuts.Point | None = None
        self.zombies: list[Owner] = []
        self.code, self.settings = 0, 0
        self.wrong: list[str] = []
        self.follower = Chain()  # who has read the log from its beginning, all along
        self._told: list[tuple[Cut, list[Attempt], str]] = []
        self._places: dict[int, int] = {}
        self._told_to = 0
        self.owner = Owner(self, self.code, self.settings)

    def feed(self, chain: Chain, through: int) -> None:
        for at in range(chain.next, through + 1):
            chain.read(at, self.log[at])

    def create(self, key: str, body: Any) -> None:
        before = self.bucket.get(key, body)
        self.bucket.setdefault(key, body)
        if self.bucket[key] != before:
            self.wrong.append(f"{key} was written over")

    def publish(self, account: cuts.Account) -> None:
        manifest = account.manifest
        key = f"manifest/{manifest.hour}/{manifest.first}-{manifest.end}"
        body = msgspec.json.encode(
            [manifest, [[e.cut, e.attempts, e.outcome] for e in account.entries], account.markers]
        )
        if self.bucket.setdefault(key, body) != body:
            self.wrong.append(f"two accounts of {key} differ")

    def committing(self, point: cuts.Point, through: int) -> None:
        """Whatever was committed before is forgotten: the last one wins, be it a sleeper's."""
        for cut, attempts, outcome in self.chain():
            if cut.end <= through:
                self.wrong += self.settled(cut, attempts, outcome, "committed")
        resumed = Chain(point)
        for chain in (self.follower, resumed):
            self.feed(chain, len(self.log) - 1)
        if _seen(self.follower) != _seen(resumed):
            self.wrong.append(f"who starts at {point} sees another chain")
        self.commit = point

    def chain(self) -> list[tuple[Cut, list[Attempt], str]]:
        """The chain by a plain reading of the log: cuts in order, with all attempts written for them and how they ended."""
        out, places = self._told, self._places
        for at, record in enumerate(self.log[self._told_to :], self._told_to):
            if isinstance(record, Cut) and (not out or record.first == out[-1][0].end):
                places[at] = len(out)
                out.append((record, [record.attempt], ""))
            elif isinstance(record, cuts.Again) and record.cut in places:
                _, attempts, ended = out[places[record.cut]]
                if not ended and attempts[0].parts and record.attempt not in attempts:
                    attempts.append(record.attempt)
            elif isinstance(record, cuts.Ended) and record.of in places:
                cut, attempts, before = out[places[record.of]]
                out[places[record.of]] = (cut, attempts, before or record.outcome)
        self._told_to = len(self.log)
        return out

    def settled(self, cut: Cut, attempts: list[Attempt], outcome: str, when: str) -> list[str]:
        """Every offset of this cut lies in what one attempt left, or the cut says that nobody knows."""
        if cut.kind != cuts.EVENTS:
            return []
        body = self.bucket.get(f"events/{cut.first}-{cut.end}")
        if body is None:
            if outcome == cuts.UNKNOWN or any(a.events is None for a in attempts):
                return []
            return [f"{when}: [{cut.first}, {cut.end}) has no object"]
        left = [a for a in attempts if a.events is not None and a.events.sha256 == repr(body)]
        if not left:
            return [f"{when}: [{cut.first}, {cut.end}) holds bytes that no attempt names"]
        if outcome == cuts.UNKNOWN:
            return []
        missing = [a for a in left if a.rejects is not None and a.rejects.key not in self.bucket]
        return [f"{when}: the rejects of [{cut.first}, {cut.end}) are missing"] if len(missing) == len(left) else []

    def step(self) -> None:
        r, rng = self.rng.random(), self.rng
        if r < 0.2:
            self.source += rng.choices(KINDS, k=rng.randint(1, 6))
        elif r < 0.24:
            self.hour += 1
        elif r < 0.28:
            self.replace(freeze=False)
        elif r < 0.32:
            self.replace(freeze=True)
        elif r < 0.35:
            self.code, self.settings = rng.randrange(4), rng.randrange(3)
            self.replace(freeze=rng.random() < 0.5)
        elif r < 0.45:
            for zombie in self.zombies:
                for _ in range(rng.randint(1, 6)):
                    zombie.step()
        elif r < 0.46:
            self.begin = min(len(self.source), self.begin + rng.randint(0, 8))
        elif r < 0.47:
            self.commit = None
        else:
            self.owner.step()

    def replace(self, *, freeze: bool) -> None:
        if freeze and len(self.zombies) < 4:
            self.zombies.append(self.owner)
        self.owner = Owner(self, self.code, self.settings)

    def over(self, chain: Chain) -> bool:
        """Nothing is left to deliver or to account for."""
        everything = chain.end == len(self.source) and chain.unaccounted == (chain.end, chain.end)
        return everything and not (chain.accounts or chain.entries or chain.marked)

    def finish(self) -> None:
        """One owner goes on alone until everything is delivered and accounted for."""
        self.zombies = []
        self.replace(freeze=False)
        for _ in range(2_000):
            self.owner.step()
            chain = self.owner.chain
            if chain is not None and self.over(chain):
                return
            if isinstance(self.owner.effect, cuts.Next):
                self.hour += self.rng.random() < 0.1
        self.wrong.append("this history never ends")


def _seen(chain: Chain) -> tuple[Any, ...]:
    return chain.end, chain.through, chain.unaccounted


def run(seed: int) -> World:
    world = World(seed)
    for _ in range(world.rng.randint(20, 200)):
        world.step()
    world.finish()
    return world


def faults(world: World) -> list[str]:
    """What is wrong at the end of a history; empty if it ended right."""
    wrong = list(world.wrong)
    chain = world.chain()
    at = chain[0][0].first
    known: set[str] = set()
    for cut, attempts, outcome in chain:
        if cut.first != at:
            wrong.append(f"the chain breaks at {at}")
        at = cut.end
        wrong += world.settled(cut, attempts, outcome, "at the end")
        known.add(f"events/{cut.first}-{cut.end}")
        known |= {a.rejects.key for a in attempts if a.rejects is not None}
    if at != len(world.source):
        wrong.append(f"the chain ends at {at} of {len(world.source)}")
    held = [(k, b) for k, b in world.bucket.items() if not k.startswith("manifest/")]
    wrong += [f"{key} belongs to no cut of the chain" for key, _ in held if key not in known]
    delivered = [o for key, body in held if key.startswith("events/") for o in body[2]]
    if len(delivered) != len(set(delivered)):
        wrong.append("an offset lies in two objects")
    return wrong + _accounts(world, chain)


def _accounts(world: World, chain: list[tuple[Cut, list[Attempt], str]]) -> list[str]:
    """The manifests tell the chain, each cut once, and every hash that lies in the bucket."""
    form = tuple[Manifest, list[tuple[Cut, list[Attempt], str]], list[Marker]]
    found = [msgspec.json.decode(body, type=form) for k, body in world.bucket.items() if k.startswith("manifest/")]
    found.sort(key=lambda m: (m[0].hour, m[0].first, m[0].end))
    wrong, at, told, markers = [], chain[0][0].first, [], []
    for manifest, entries, marks in found:
        if manifest.first != at:
            wrong.append(f"the manifests break at {at}")
        at = manifest.end
        told += entries
        markers += marks
    if [(cut, attempts) for cut, attempts, _ in told] != [(cut, attempts) for cut, attempts, _ in chain]:
        wrong.append("the manifests tell another chain")
    for cut, attempts, _ in told:
        body = world.bucket.get(f"events/{cut.first}-{cut.end}")
        if body is not None and repr(body) not in [a.events.sha256 for a in attempts if a.events is not None]:
            wrong.append(f"the manifest of [{cut.first}, {cut.end}) does not name what lies there")
    if Counter(markers) != Counter(r for r in world.log if isinstance(r, Marker)):
        wrong.append("the manifests tell other markers")
    return wrong
