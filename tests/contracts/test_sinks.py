"""What every sink keeps, whatever it is made of."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from exporters.sinks.directory import DirectorySink
from exporters.sinks.memory import MemorySink
from exporters.sinks.s3 import S3Sink
from exporters.sinks.sink import Document, Missing, Object, Outcome, Receipt
from tests import s3


def document(key: str, body: bytes = b"one\n") -> Document:
    return Document(key, body, "application/x-ndjson", hashlib.sha256(body).hexdigest())


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def content(sink, key: str) -> bytes:
    return b"".join(sink.read(key))


FORMS = ["memory", "directory", "seaweed", "versitygw"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Real S3 servers, each started when the first test asks for it."""
    with ExitStack() as running:
        started = {}

        def server(name: str):
            if name not in started:
                home = tmp_path_factory.mktemp("s3") / name
                if name == "versitygw":
                    started[name] = running.enter_context(s3.versitygw(home, s3.versitygw_binary()))
                else:
                    started[name] = running.enter_context(s3.seaweed(home))
            return started[name]

        yield server


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group("sinks")) for name in FORMS])
def sink(request, tmp_path, servers):
    match request.param:
        case "memory":
            made = MemorySink()
        case "directory":
            made = DirectorySink(tmp_path / "objects")
        case name:
            made = S3Sink(servers(name).target(prefix="some/prefix"))
    yield made
    made.close()


def keys(sink, prefix: str = "") -> list[str]:
    """What is there of deliveries; a sink may keep something of its own below `_activity/`."""
    return [o.key for o in sink.objects(prefix) if not o.key.startswith("_activity/")]


class SinkContract:
    def test_a_document_lies_there_as_it_was(self, sink):
        assert sink.create(document("a/b.ndjson", b"x" * 100)) == Receipt(Outcome.STORED, sha(b"x" * 100))
        assert content(sink, "a/b.ndjson") == b"x" * 100

    def test_an_empty_document_is_one_too(self, sink):
        assert sink.create(document("empty", b"")).outcome is Outcome.STORED
        assert content(sink, "empty") == b""
        assert [(o.key, o.size) for o in sink.objects("empty")] == [("empty", 0)]

    def test_a_document_in_a_file_is_like_one_in_memory(self, sink, tmp_path):
        body = bytes(range(256)) * 10_000
        (tmp_path / "body").write_bytes(body)
        made = Document("from-a-file", tmp_path / "body", "application/gzip", sha(body))
        assert sink.create(made) == Receipt(Outcome.STORED, sha(body))
        assert content(sink, "from-a-file") == body

    def test_the_same_document_again_exists_and_its_hash_is_said(self, sink):
        sink.create(document("again"))
        assert sink.create(document("again")) == Receipt(Outcome.EXISTS, sha(b"one\n"))

    def test_another_document_never_writes_over_the_first(self, sink):
        sink.create(document("taken", b"first"))
        assert sink.create(document("taken", b"second, and longer")) == Receipt(Outcome.EXISTS, sha(b"first"))
        assert content(sink, "taken") == b"first"

    def test_of_many_at_once_exactly_one_stores(self, sink):
        many = 16
        gate = threading.Barrier(many)

        def attempt(number: int) -> Receipt:
            gate.wait()
            return sink.create(document("contended", b"%d" % number * 50_000))

        with ThreadPoolExecutor(many) as pool:
            receipts = list(pool.map(attempt, range(many)))
        winners = [r for r in receipts if r.outcome is Outcome.STORED]
        assert len(winners) == 1
        assert sha(content(sink, "contended")) == winners[0].sha256
        assert {r.sha256 for r in receipts} == {winners[0].sha256}

    def test_keys_come_in_the_order_of_their_bytes(self, sink, request):
        given = ["a.b", "a/b-c", "a/b/c", "a0", "b", "ä", "z/1", "Z"]
        for key in given:
            sink.create(document(key))
        # This store keeps a tree and sorts folder by folder; S3 itself sorts whole keys.
        tree = "seaweed" in request.node.callspec.id
        assert keys(sink) == sorted(given, key=(lambda key: key.encode().split(b"/")) if tree else str.encode)

    def test_a_prefix_chooses_by_characters_not_by_folders(self, sink):
        for key in ("authentication/1", "authentications/2", "auth", "connections/3"):
            sink.create(document(key))
        assert keys(sink, "authentication") == ["authentication/1", "authentications/2"]
        assert keys(sink, "authentication/") == ["authentication/1"]
        assert list(sink.objects("nothing")) == []

    def test_an_object_says_its_size_and_a_tag_that_stays(self, sink):
        sink.create(document("sized", b"12345"))
        first, second = list(sink.objects("sized")), list(sink.objects("sized"))
        assert first == second
        assert first == [Object("sized", 5, first[0].etag)]
        assert first[0].etag

    @pytest.mark.parametrize(
        "key", ["2025-07-25T18:20:00+00:00.json", "a b/c=d/é.gz", "dt=2026-03-27/hour=10/0a-00001.x"]
    )
    def test_what_a_key_may_contain(self, sink, key):
        sink.create(document(key))
        assert sink.exists(key)
        assert content(sink, key) == b"one\n"
        assert keys(sink) == [key]

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\0b", "é" * 600])
    def test_what_a_key_may_not_be(self, sink, key):
        with pytest.raises(ValueError, match="not a key"):
            sink.create(document(key))

    def test_what_is_not_there_is_missing(self, sink):
        sink.create(document("there/it/is"))
        assert not sink.exists("elsewhere")
        assert not sink.exists("there/it")
        with pytest.raises(Missing, match="elsewhere"):
            content(sink, "elsewhere")

    def test_a_sink_says_where_it_is(self, sink):
        assert sink.place


class TestSinks(SinkContract):
    pass
