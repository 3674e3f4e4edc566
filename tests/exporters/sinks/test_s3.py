"""The S3 sink on real servers: parts, refusals, keys, and a store that would write over."""

import hashlib
import json
import signal
import subprocess
import sys

import boto3
import pytest
from moto.server import ThreadedMotoServer

from exporters.sinks.clients import Timing, encryption
from exporters.sinks.multipart import MIB, PART_BYTES, part_bytes
from exporters.sinks.s3 import PROBE, S3Sink
from exporters.sinks.sink import Document, Outcome, Receipt
from exporters.sinks.target import BucketTarget, KeyPair
from pipeline.errors import ConfigError, Refused, Unavailable
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("s3")]
LARGE = bytes(range(256)) * 4096 * 17  # 17 MiB


def document(key="a/one", body=b"one\n"):
    return Document(key, body, "application/x-ndjson", hashlib.sha256(body).hexdigest())


def sha(body):
    return hashlib.sha256(body).hexdigest()


def uploads(server, bucket):
    return [u["Key"] for u in server.client().list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


@pytest.mark.parametrize("name", ["seaweed", "versitygw"])
class TestParts:
    def test_a_large_document_arrives_whole_and_is_never_written_over(self, name, request, tmp_path):
        sink = S3Sink(request.getfixturevalue(name).target())
        (tmp_path / "large").write_bytes(LARGE)
        first = Document("large", tmp_path / "large", "application/gzip", sha(LARGE))
        assert sink.create(first) == Receipt(Outcome.STORED, sha(LARGE))
        assert hashlib.sha256(b"".join(sink.read("large"))).hexdigest() == sha(LARGE)
        other = LARGE[1:] + b"x"
        assert sink.create(document("large", other)) == Receipt(Outcome.EXISTS, sha(LARGE))
        assert sink.create(document("large")) == Receipt(Outcome.EXISTS, sha(LARGE))

    def test_parts_that_a_kill_left_are_given_up_when_the_object_is_there(self, name, request):
        server = request.getfixturevalue(name)
        target = server.target(prefix="p")
        dying = """
import hashlib, os, sys
from botocore.client import BaseClient
from exporters.sinks import multipart
from exporters.sinks.s3 import S3Sink
from exporters.sinks.sink import Document
from exporters.sinks.target import TARGET
body = bytes(17 << 20)
pieces = Document.pieces
def die(self, size):
    yield next(pieces(self, size))
    os.kill(os.getpid(), 9)
Document.pieces = lambda self, size=1 << 20: die(self, size) if size > 1 << 20 else pieces(self, size)
S3Sink(TARGET.validate_json(sys.argv[1])).create(Document("large", body, "x/y", hashlib.sha256(body).hexdigest()))
"""
        done = subprocess.run([sys.executable, "-c", dying, target.model_dump_json()], check=False)
        assert done.returncode == -signal.SIGKILL
        assert uploads(server, target.bucket) == ["p/large"]
        sink = S3Sink(target)
        assert sink.create(document("large", LARGE)).outcome is Outcome.STORED
        assert uploads(server, target.bucket) == []

    def test_parts_of_another_object_are_left_alone(self, name, request):
        server = request.getfixturevalue(name)
        target = server.target()
        server.client().create_multipart_upload(Bucket=target.bucket, Key="large-and-more")
        S3Sink(target).create(document("large", LARGE))
        assert uploads(server, target.bucket) == ["large-and-more"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(PART_BYTES + 1, PART_BYTES), (10_000 * PART_BYTES, PART_BYTES), (10_000 * PART_BYTES + 1, PART_BYTES + MIB)],
)
def test_parts_grow_when_there_would_be_too_many(size, expected):
    assert part_bytes(size) == expected
    assert size / part_bytes(size) <= 10_000


def test_a_wrong_secret_is_refused(seaweed, tmp_path):
    keys = json.loads(seaweed.keys.read_text())
    (tmp_path / "keys").write_text(json.dumps(keys | {"secret": "wrong" * 5}))
    target = seaweed.target(credentials=KeyPair(file=tmp_path / "keys"))
    with pytest.raises(Refused, match=r"SignatureDoesNotMatch.*keys are not valid") as refused:
        S3Sink(target).create(document())
    assert keys["key_id"] not in str(refused.value)


def test_keys_can_be_exchanged_under_a_running_sink(seaweed, tmp_path):
    good = seaweed.keys.read_text()
    (tmp_path / "keys").write_text(json.dumps({"key_id": "unknown", "secret": "wrong" * 5}))
    sink = S3Sink(seaweed.target(credentials=KeyPair(file=tmp_path / "keys")))
    with pytest.raises(Refused, match="InvalidAccessKeyId"):
        sink.create(document())
    (tmp_path / "keys").write_text("half of it")
    with pytest.raises(Refused, match="InvalidAccessKeyId"):
        sink.create(document())
    (tmp_path / "keys").write_text(good)
    assert sink.create(document()).outcome is Outcome.STORED


def test_keys_come_from_an_aws_file_and_from_the_environment_too(seaweed, tmp_path, monkeypatch):
    keys = json.loads(seaweed.keys.read_text())
    ini = f"[other]\naws_access_key_id = {keys['key_id']}\naws_secret_access_key = {keys['secret']}\n"
    (tmp_path / "credentials").write_text(ini)
    target = seaweed.target(credentials=KeyPair(file=tmp_path / "credentials", profile="other"))
    assert S3Sink(target).create(document("one")).outcome is Outcome.STORED

    named = target.model_copy(update={"credentials": KeyPair(environment="ACTIVITY_LOGS")})
    with pytest.raises(ConfigError, match="ACTIVITY_LOGS_KEY_ID and ACTIVITY_LOGS_SECRET: not set"):
        S3Sink(named)
    (tmp_path / "secret").write_text(keys["secret"] + "\n")
    monkeypatch.setenv("ACTIVITY_LOGS_KEY_ID", keys["key_id"])
    monkeypatch.setenv("ACTIVITY_LOGS_SECRET_FILE", str(tmp_path / "secret"))
    assert S3Sink(named).create(document("two")).outcome is Outcome.STORED


@pytest.mark.parametrize("text", ["", "{}", '{"key_id": "a"}', '{"key_id": "a", "secret": ""}', "[other]\na = b", "["])
def test_a_file_without_keys_is_a_wrong_setting_and_is_not_quoted(text, tmp_path):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigError, match="no keys in it"):
        S3Sink(BucketTarget(bucket="logs", credentials=KeyPair(file=tmp_path / "keys")))


def test_no_secret_is_in_what_a_sink_says_of_itself(seaweed):
    secret = json.loads(seaweed.keys.read_text())["secret"]
    sink = S3Sink(seaweed.target())
    for text in (repr(sink), repr(vars(sink)), repr(sink._target), sink._target.model_dump_json()):
        assert secret not in text


def test_a_missing_bucket_is_refused(seaweed):
    with pytest.raises(Refused, match=r"NoSuchBucket.*make the bucket"):
        S3Sink(seaweed.target(bucket="not-there")).create(document())


def test_a_bucket_of_another_owner_is_refused(versitygw):
    with pytest.raises(Refused, match="AccessDenied"):
        S3Sink(versitygw.target(expected_owner="123456789012")).create(document())


def test_a_store_that_is_away_is_waited_for(monkeypatch):
    target = BucketTarget(
        bucket="logs", endpoint="http://127.0.0.1:9", path_style=True, credentials=KeyPair(environment="ACTIVITY_LOGS")
    )
    monkeypatch.setenv("ACTIVITY_LOGS_KEY_ID", "a")
    monkeypatch.setenv("ACTIVITY_LOGS_SECRET", "b")
    with pytest.raises(Unavailable, match="EndpointConnectionError"):
        S3Sink(target, Timing(attempts=1)).create(document())


def test_encryption_is_asked_for_as_the_target_says():
    kms = BucketTarget(bucket="logs", encryption="sse-kms", kms_key="alias/logs")
    assert encryption(kms) == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/logs",
        "BucketKeyEnabled": True,
    }
    assert encryption(BucketTarget(bucket="logs", encryption="sse-s3")) == {"ServerSideEncryption": "AES256"}
    assert encryption(BucketTarget(bucket="logs")) == {}


@pytest.fixture(scope="module")
def forgetful():
    """A store that does not check signatures, behind a proxy that hides the condition from it: it writes over."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with Proxy(port, drop_headers=("if-none-match",)) as proxy:
        yield proxy, f"http://{host}:{port}"
    server.stop()


def unsigned(endpoint, monkeypatch, bucket, **more):
    monkeypatch.setenv("ACTIVITY_ANY_KEY_ID", "any")
    monkeypatch.setenv("ACTIVITY_ANY_SECRET", "any")
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1"
    )
    client.create_bucket(Bucket=bucket)
    return BucketTarget(
        bucket=bucket, endpoint=endpoint, path_style=True, credentials=KeyPair(environment="ACTIVITY_ANY"), **more
    )


def test_before_a_store_that_writes_over_the_sink_looks_first(forgetful, monkeypatch):
    proxy, _ = forgetful
    sink = S3Sink(unsigned(proxy.endpoint, monkeypatch, "forgetful"))
    assert sink.create(document("taken", b"first")) == Receipt(Outcome.STORED, sha(b"first"))
    assert sink.create_only == "head first"
    assert sink.create(document("taken", b"second")) == Receipt(Outcome.EXISTS, sha(b"first"))
    assert b"".join(sink.read("taken")) == b"first"


def test_the_look_can_be_asked_for(forgetful, monkeypatch):
    _, direct = forgetful
    target = unsigned(direct, monkeypatch, "careful", create_only="head first")
    sink = S3Sink(target)
    assert sink.create(document("one")).outcome is Outcome.STORED
    assert sink.create(document("one")).outcome is Outcome.EXISTS
    assert [o.key for o in sink.objects()] == ["one"]


def test_what_others_called_their_objects_can_be_read(forgetful, monkeypatch):
    """Keys that a store takes and that ours are never: empty parts, dots."""
    _, direct = forgetful
    target = unsigned(direct, monkeypatch, "anything", prefix="p")
    writer = boto3.client("s3", endpoint_url=direct, aws_access_key_id="any", aws_secret_access_key="any")
    for key in ("p//b.json", "p/../c.json", "p/./d.json", "p/e.json"):
        writer.put_object(Bucket="anything", Key=key, Body=key.encode())
    sink = S3Sink(target)
    found = {o.key: b"".join(sink.read(o.key)).decode() for o in sink.objects()}
    assert found == {"/b.json": "p//b.json", "../c.json": "p/../c.json", "./d.json": "p/./d.json", "e.json": "p/e.json"}
    assert sink.exists("/b.json")
    with pytest.raises(ValueError, match="not a key"):
        sink.create(document("/b.json"))


def test_a_store_that_keeps_the_condition_is_trusted(seaweed):
    sink = S3Sink(seaweed.target(prefix="p"))
    assert sink.create_only == "unknown"
    sink.create(document())
    assert sink.create_only == "native"
    assert [o.key for o in sink.objects()] == [PROBE.key, "a/one"]


def test_a_checksum_goes_with_every_object_and_the_store_verifies_it(seaweed):
    wrong = Document("damaged", b"these bytes", "text/plain", sha(b"other bytes"))
    sink = S3Sink(seaweed.target())
    with pytest.raises(Unavailable, match=r"BadDigest|ChecksumMismatch"):
        sink.create(wrong)
    assert not sink.exists("damaged")
