"""Which record may follow which: of all that are written by services that sleep, die and take over, exactly one history counts."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.reports.build import Parameters
from exporters.reports.runs import (
    BUILDING,
    CANCELLED,
    EXPIRED,
    FAILED,
    NEXT,
    OPEN,
    QUEUED,
    READY,
    WAITING,
    Run,
    Runs,
    allowed,
)
from pipeline.settings import Settings


def a_run(state=QUEUED, **more):
    return Run("r", "active", state, Parameters(), 1, 1, **more)


def table():
    runs = Runs(Settings(kafka="127.0.0.1:1"))
    return runs, lambda run: runs.apply("r", msgspec.json.encode(run))


def test_the_first_claim_with_a_number_wins_and_only_its_holder_can_say_ready():
    runs, write = table()
    write(a_run())
    assert write(a_run(WAITING, attempt=1, holder="a"))
    assert write(a_run(WAITING, attempt=1, holder="b")) is False
    assert write(a_run(BUILDING, attempt=1, holder="b")) is False
    assert write(a_run(BUILDING, attempt=1, holder="a"))
    assert write(a_run(WAITING, attempt=2, holder="b"))  # a was silent for too long
    assert write(a_run(READY, attempt=1, holder="a", stored="r-1")) is False
    assert write(a_run(BUILDING, attempt=2, holder="b"))
    assert write(a_run(READY, attempt=2, holder="b", stored="r-2"))
    assert runs.get("r").stored == "r-2"


def test_what_was_deleted_does_not_come_back():
    runs, write = table()
    write(a_run())
    runs.apply("r", None)
    for state in NEXT:
        assert write(a_run(state)) is False
    assert runs.get("r") is None


def test_after_compaction_a_run_is_whatever_its_last_record_says():
    for state in NEXT:
        runs, write = table()
        assert write(a_run(state, attempt=3, holder="x"))
        assert runs.get("r").state == state


def test_records_of_another_version_change_nothing_and_are_left_alone():
    runs, write = table()
    write(a_run())
    assert runs.apply("r", b"{nonsense") is None
    assert runs.apply("other", msgspec.json.encode(a_run())) is None
    assert runs.get("r") == a_run()


records = st.builds(
    a_run,
    st.sampled_from(list(NEXT)),
    attempt=st.integers(0, 3),
    holder=st.sampled_from(["", "a", "b"]),
    stored=st.sampled_from(["", "r-1", "r-2"]),
)


@given(st.lists(records, max_size=30))
def test_a_run_is_ready_at_most_once_and_never_changes_afterwards(written):
    runs, write = table()
    ready = []
    for run in written:
        before = runs.get("r")
        if write(run) and run.state == READY:
            ready.append(run)
        if before is not None and before.state not in OPEN:
            assert runs.get("r").state in (before.state, EXPIRED)
            assert runs.get("r").state == before.state or runs.get("r").stored in (before.stored, run.stored)
    assert len(ready) <= 1


@given(st.lists(records, max_size=30), st.integers(0, 30))
def test_a_reader_that_comes_later_and_sees_the_healed_log_agrees(written, cut):
    """Whatever prefix compaction took: the last record of the key, healed, says the same."""
    runs, write = table()
    healed = []
    for run in written:
        healed.append(msgspec.json.encode(run))
        standing = runs.get("r")
        if write(run) is False:
            healed.append(None if standing is None else msgspec.json.encode(standing))
    late, _ = table()
    for value in healed[min(cut, len(healed) - 1) :] if healed else []:
        late.apply("r", value)
    if healed and healed[-1] is not None and len(healed) - 1 <= cut:
        assert late.get("r") == runs.get("r")


@pytest.mark.parametrize("state", [READY, FAILED, CANCELLED])
def test_what_is_over_can_only_expire(state):
    before = a_run(state, attempt=1, holder="a")
    assert [s for s in NEXT if allowed(before, a_run(s, attempt=1, holder="a"))] == [EXPIRED]
    assert not allowed(before, a_run(WAITING, attempt=2, holder="b"))
