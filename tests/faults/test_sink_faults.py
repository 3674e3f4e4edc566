"""The sink under every fault of every operation: what it says is right, and what lies there is the document, whole, once."""

import hashlib
import json

import pytest

from exporters.sinks import multipart
from exporters.sinks.clients import Timing
from exporters.sinks.s3 import S3Sink
from exporters.sinks.sink import Document, Outcome, Receipt
from exporters.sinks.target import KeyPair, Role
from pipeline.errors import Refused, Unavailable
from tests import s3
from tests.faults.proxy import STORED, Fault, Operation, Proxy
from tests.faults.sts import EXTERNAL_ID, ROLE, Sts

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("s3")]
QUICK = Timing(connect_seconds=2, read_seconds=0.7, attempts=1)
LIBRARY = Timing(
    connect_seconds=2, read_seconds=0.7, attempts=2
)  # with the repetition that the library makes by itself
SMALL, LARGE = b"a line\n", b"a line\n" * 300

# What the first attempt ends with; the second one meets no fault.
FIRST = {
    Fault.TOO_MANY: Unavailable,
    Fault.INTERNAL: Unavailable,
    Fault.UNAVAILABLE: Unavailable,
    Fault.RESET_BEFORE: Unavailable,
    Fault.RESET_AFTER: Unavailable,
    Fault.TIME_OUT: Unavailable,
    Fault.TRUNCATED: Unavailable,
    Fault.FORBIDDEN: Refused,
    Fault.NOT_FOUND: Refused,
    Fault.CONFLICT: Unavailable,
    Fault.TAKEN: Unavailable,  # the store says that something lies there and shows nothing
    Fault.TAKEN_INSIDE: Unavailable,
    Fault.SLOW: Outcome.STORED,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with (
        s3.seaweed(tmp_path_factory.mktemp("s3") / "seaweed") as server,
        Proxy(int(server.endpoint.rsplit(":", 1)[1])) as store,
        Sts(json.loads(server.keys.read_text())) as sts,
        Proxy(sts.port) as role,
    ):
        yield server, server.bucket(), store, role


@pytest.fixture
def place(world, request):
    server, bucket, store, role = world
    store.clear()
    role.clear()
    prefix = hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    return {"server": server, "store": store, "role": role, "bucket": bucket, "prefix": prefix}


def sink(place, timing=QUICK):
    server = place["server"]
    credentials = Role(
        role_arn=ROLE,
        external_id=EXTERNAL_ID,
        source=KeyPair(file=server.keys),
        sts_endpoint=place["role"].endpoint,
    )
    target = server.target(
        bucket=place["bucket"], prefix=place["prefix"], endpoint=place["store"].endpoint, credentials=credentials
    )
    return S3Sink(target, timing)


def document(operation):
    body = SMALL if operation in (Operation.PUT, Operation.ROLE) else LARGE
    return Document("dt=2026-03-27/one", body, "application/x-ndjson", hashlib.sha256(body).hexdigest())


def attempt(made, what):
    try:
        return made.create(what).outcome
    except (Unavailable, Refused) as problem:
        return type(problem)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(multipart, "PART_BYTES", 1024)


CASES = [(o, f) for o in (Operation.PUT, Operation.CREATE, Operation.PART, Operation.COMPLETE) for f in Fault]


@pytest.mark.parametrize(("operation", "fault"), CASES)
def test_a_fault_is_named_right_and_the_next_attempt_ends_it(place, operation, fault):
    made, what = sink(place), document(operation)
    made._learn()
    place["store"].clear()
    place["store"].plan(operation, fault)
    first = attempt(made, what)
    assert place["store"].met == [(operation, fault)]
    assert first is FIRST[fault]
    second = attempt(made, what)
    # Only an attempt that reached the store with its last step can have been stored.
    already = fault in STORED and operation in (Operation.PUT, Operation.COMPLETE)
    assert second is (Outcome.EXISTS if already or first is Outcome.STORED else Outcome.STORED)
    assert b"".join(made.read(what.key)) == what.body
    assert made.create(what) == Receipt(Outcome.EXISTS, what.sha256)


@pytest.mark.parametrize(("operation", "fault"), [c for c in CASES if c[0] in (Operation.PUT, Operation.COMPLETE)])
def test_the_repetition_of_the_library_hides_nothing(place, operation, fault):
    made, what = sink(place, LIBRARY), document(operation)
    place["store"].plan(operation, fault)
    outcomes = []
    while not outcomes or not isinstance(outcomes[-1], Outcome):
        outcomes.append(attempt(made, what))
        assert len(outcomes) < 4
    assert place["store"].met == [(operation, fault)]
    assert b"".join(made.read(what.key)) == what.body
    assert made.create(what) == Receipt(Outcome.EXISTS, what.sha256)


@pytest.mark.parametrize("fault", [f for f in Fault if f is not Fault.TAKEN_INSIDE])
def test_a_fault_while_the_role_is_asked_for_stores_nothing(place, fault):
    made, what = sink(place), document(Operation.ROLE)
    place["role"].plan(Operation.ROLE, fault)
    first = attempt(made, what)
    assert place["role"].met == [(Operation.ROLE, fault)]
    if fault is Fault.SLOW:
        assert first is Outcome.STORED
        return
    assert first is (Refused if fault in (Fault.FORBIDDEN, Fault.NOT_FOUND) else Unavailable)
    assert sink(place).exists(what.key) is False
    assert attempt(made, what) is Outcome.STORED


@pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.TRUNCATED, Fault.TIME_OUT, Fault.UNAVAILABLE])
def test_a_reply_that_is_lost_while_the_store_is_learned_teaches_nothing_wrong(place, fault):
    made, what = sink(place), document(Operation.PUT)
    place["store"].plan(Operation.PUT, fault)
    assert attempt(made, what) is Unavailable
    assert made.create_only == "unknown"
    assert attempt(made, what) is Outcome.STORED
    assert made.create_only == "native"


def test_an_object_that_is_cut_while_it_is_read_is_not_taken_for_whole(place):
    made, what = sink(place), document(Operation.PART)
    made.create(what)
    place["store"].plan("Get", Fault.TRUNCATED)
    with pytest.raises(Unavailable):
        b"".join(made.read(what.key))
    assert b"".join(made.read(what.key)) == what.body


def test_a_412_that_may_not_be_looked_into_counts_as_there(place):
    made, what = sink(place), document(Operation.PUT)
    made.create(what)
    place["store"].plan("Head", Fault.FORBIDDEN, times=2)
    assert made.create(what) == Receipt(Outcome.EXISTS, None)
