"""The cuts under random histories, and each of their laws broken once to see that the histories notice."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from exporters.sync import cuts
from tests import sync_simulation

HISTORIES = int(os.environ.get("ACTIVITY_TEST_HISTORIES", "10000"))
SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
def test_every_offset_ends_in_exactly_one_object(share):
    length = HISTORIES // SHARES
    for seed in range(share * length, (share + 1) * length):
        assert sync_simulation.faults(sync_simulation.run(seed)) == [], f"seed {seed}"


# Each: the file, what stands there, what a tired programmer could have written.
CUTS, SIMULATION = "exporters/sync/cuts.py", "tests/sync_simulation.py"
BROKEN = {
    "committed before it is put": (
        CUTS,
        "return entry.cut.first if entry is not None else self.end",
        "return self.end",
    ),
    "a cut is not read back": (
        CUTS,
        "        yield Read((yield Append((yield Next(chain.end)))))",
        "        record = yield Next(chain.end)\n        chain.read((yield Append(record)), record)",
    ),
    "objects are written over": (SIMULATION, "self.bucket.setdefault(key, body)\n", "self.bucket[key] = body\n"),
    "a wrong last offset": (CUTS, "self.end, self.hour, self.window = cut.end,", "self.end, self.hour, self.window = cut.end - 1,"),
    "the last cut wins, not the first": (CUTS, "elif cut.first != self.end:", "elif cut.first > self.end:"),
    "other bytes leave without a word": (CUTS, "if attempt not in entry.attempts:", "if False:"),
    "an attempt is not read back": (
        CUTS,
        "        if entry.outcome:\n            return  # somebody",
        "        if False:\n            return  # somebody",
    ),
    "ended before it is put": (
        CUTS,
        "    yield Put(entry, attempt)\n    yield Read((yield Append(Ended(entry.at))))",
        "    yield Read((yield Append(Ended(entry.at))))\n    yield Put(entry, attempt)",
    ),
    "a successor starts behind what is open": (CUTS, "at = min([self.next, *(e.at for e in self.entries[:1]),", "at = min([self.next,"),
    "attempts count after the end": (CUTS, "entry is not None and not entry.outcome and", "entry is not None and"),
    "manifests need not touch": (CUTS, "or manifest.first != self._accounted", "or manifest.first > self._accounted"),
    "a manifest on its way is forgotten": (CUTS, "while chain.accounts:", "while False:"),
    "events go before their rejects": (CUTS, "(self.rejects, self.events)", "(self.events, self.rejects)"),
    "what others left open is not finished": (CUTS, "while (entry := chain.unfinished) is not None:", "while (entry := chain.unfinished) is not None and entry is chain.entries[-1]:"),
    "what retention took is passed over": (SIMULATION, "return Cut(first, world.begin, cuts.LOST)", "first = world.begin"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BROKEN)
def test_a_planted_bug_is_noticed(bug):
    file, right, wrong = BROKEN[bug]
    broken = {name: _load(name, **({right: wrong} if name == file else {})) for name in (CUTS, SIMULATION)}
    try:
        assert any(_red(broken[SIMULATION], seed) for seed in range(3_000))
    finally:
        sys.modules["exporters.sync.cuts"] = cuts
        sys.modules["exporters.sync"].cuts = cuts
        sys.modules["tests.sync_simulation"] = sync_simulation


def _load(file: str, **changes: str) -> ModuleType:
    """The module anew, from changed text, in place of the real one."""
    source = (Path(__file__).parents[3] / file).read_text()
    for right, wrong in changes.items():
        assert right in source, f"{file} reads differently now: {right}"
        source = source.replace(right, wrong)
    name = file.removesuffix(".py").replace("/", ".")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, None))
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
    exec(compile(source, file, "exec"), module.__dict__)
    return module


def _red(simulation: ModuleType, seed: int) -> bool:
    try:
        return bool(simulation.faults(simulation.run(seed)))
    except (AssertionError, ValueError, KeyError, IndexError, TypeError):
        return True
