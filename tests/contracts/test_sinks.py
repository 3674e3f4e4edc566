"""What every sink keeps, whatever it is made of."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from exporters.sinks.directory import DirectorySink
from exporters.sinks.memory import MemorySink
from exporters.sinks.sink import Document, Missing, Object, Outcome, Receipt


def document(key: str, body: bytes = b"one\n") -> Document:
    return Document(key, body, "application/x-ndjson", hashlib.sha256(body).hexdigest())


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def content(sink, key: str) -> bytes:
    return b"".join(sink.read(key))


@pytest.fixture(params=["memory", "directory"])
def sink(request, tmp_path):
    made = MemorySink() if request.param == "memory" else DirectorySink(tmp_path / "objects")
    yield made
    made.close()


class SinkContract:
    def test_a_document_lies_there_as_it_was(self, sink):
        assert sink.create(document("a/b.ndjson", b"x" * 100)) == Receipt(Outcome.STORED, sha(b"x" * 100))
        assert content(sink, "a/b.ndjson") == b"x" * 100

    def test_an_empty_document_is_one_too(self, sink):
        assert sink.create(document("empty", b"")).outcome is Outcome.STORED
        assert content(sink, "empty") == b""
        assert [(o.key, o.size) for o in sink.objects()] == [("empty", 0)]

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

    def test_keys_come_in_the_order_of_their_bytes(self, sink):
        keys = ["a.b", "a/b-c", "a/b/c", "a0", "b", "ä", "z/1", "Z"]
        for key in keys:
            sink.create(document(key))
        assert [o.key for o in sink.objects()] == sorted(keys, key=str.encode)

    def test_a_prefix_chooses_by_characters_not_by_folders(self, sink):
        for key in ("authentication/1", "authentications/2", "auth", "connections/3"):
            sink.create(document(key))
        assert [o.key for o in sink.objects("authentication")] == ["authentication/1", "authentications/2"]
        assert [o.key for o in sink.objects("authentication/")] == ["authentication/1"]
        assert list(sink.objects("nothing")) == []

    def test_an_object_says_its_size_and_a_tag_that_stays(self, sink):
        sink.create(document("sized", b"12345"))
        first, second = list(sink.objects()), list(sink.objects())
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
        assert [o.key for o in sink.objects()] == [key]

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
