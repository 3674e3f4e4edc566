"""The set-up check: every step is right or says what to change; each promise is seen to fail where it does not hold."""

import json

import boto3
import pytest
from moto.server import ThreadedMotoServer

from exporters.sinks.check import CLAIM_KEY, check
from exporters.sinks.target import BucketTarget, DirectoryTarget, KeyPair, Role
from tests.faults.proxy import Fault, Operation, Proxy
from tests.faults.sts import EXTERNAL_ID, ROLE, Sts

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("s3")]
STEPS = ["reach", "sign", "write", "create-only", "large objects", "encryption", "owner", "external id", "claim"]


def looked(target, owner="activity/main@cluster"):
    steps = {s.name: s for s in check(target, owner=owner)}
    if isinstance(target, BucketTarget):
        assert list(steps) == STEPS
    return steps


def verdicts(steps):
    return {name: step.ok for name, step in steps.items() if step.ok is not True}


def port(server):
    return int(server.endpoint.rsplit(":", 1)[1])


@pytest.fixture
def sts(seaweed):
    with Sts(json.loads(seaweed.keys.read_text())) as made:
        yield made


def role(seaweed, sts, **more):
    said = {"role_arn": ROLE, "external_id": EXTERNAL_ID, "source": KeyPair(file=seaweed.keys)}
    return Role(**{**said, "sts_endpoint": sts.endpoint, **more})


def test_a_good_target_is_right_in_every_step_again_and_again(seaweed, sts):
    target = seaweed.target(prefix="events", credentials=role(seaweed, sts))
    for _ in range(2):
        assert verdicts(looked(target)) == {"owner": None}


@pytest.mark.parametrize("name", ["seaweed", "versitygw"])
def test_real_stores_are_right(name, request):
    assert verdicts(looked(request.getfixturevalue(name).target())) == {"owner": None}


def test_a_directory_is_right(tmp_path):
    steps = looked(DirectoryTarget(path=tmp_path / "objects"))
    assert list(steps) == ["reach", "write", "create-only", "claim"]
    assert verdicts(steps) == {}


def test_a_directory_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    steps = looked(DirectoryTarget(path=tmp_path / "file"))
    assert verdicts(steps) == {"reach": False, "write": None, "create-only": None, "claim": None}
    assert "choose another directory" in steps["reach"].said


def test_who_is_not_there_is_not_reached(seaweed):
    steps = looked(seaweed.target(bucket="b-1", endpoint="http://127.0.0.1:9"))
    assert steps["reach"].ok is False
    assert "EndpointConnectionError" in steps["reach"].said
    assert {s.ok for name, s in steps.items() if name != "reach"} == {None}


def test_wrong_keys_are_found_while_signing(seaweed, tmp_path):
    (tmp_path / "keys").write_text(json.dumps({"key_id": "unknown", "secret": "x" * 20}))
    steps = looked(seaweed.target(credentials=KeyPair(file=tmp_path / "keys")))
    assert steps["sign"].ok is False
    assert "keys are not valid" in steps["sign"].said
    assert steps["write"].ok is None


def test_missing_keys_are_found_while_signing(seaweed, tmp_path):
    steps = looked(seaweed.target(credentials=KeyPair(file=tmp_path / "none")))
    assert steps["sign"].ok is False


def test_a_missing_bucket_is_found_while_writing(seaweed):
    steps = looked(seaweed.target(bucket="not-there"))
    assert steps["sign"].ok is True
    assert steps["write"].ok is False
    assert "make the bucket" in steps["write"].said


def test_a_clock_that_is_off_is_found_while_signing(seaweed):
    with Proxy(port(seaweed)) as proxy:
        proxy.plan(Operation.PUT, Fault.FORBIDDEN, code="RequestTimeTooSkewed")
        steps = looked(seaweed.target(endpoint=proxy.endpoint))
    assert steps["sign"].ok is False
    assert "clock" in steps["sign"].said


def test_a_role_that_anybody_may_take_on_is_found(seaweed, sts):
    sts.external_id_required = False
    steps = looked(seaweed.target(credentials=role(seaweed, sts)))
    assert verdicts(steps) == {"owner": None, "external id": False}
    assert "given away without an external id" in steps["external id"].said


def test_the_role_is_asked_for_without_and_with_another_external_id(seaweed, sts):
    looked(seaweed.target(credentials=role(seaweed, sts)))
    assert {asked.get("ExternalId") for asked in sts.asked} == {EXTERNAL_ID, EXTERNAL_ID + "-not", None}


def test_a_role_that_does_not_trust_us_is_found_while_signing(seaweed, sts):
    steps = looked(seaweed.target(credentials=role(seaweed, sts, external_id="of-another")))
    assert steps["sign"].ok is False
    assert "let the role trust" in steps["sign"].said


def test_an_sts_that_is_away_is_not_taken_for_a_refusal(seaweed, sts):
    with Proxy(sts.port) as proxy:
        target = seaweed.target(credentials=role(seaweed, sts, sts_endpoint=proxy.endpoint))
        proxy.plan(Operation.ROLE, Fault.SLOW)  # the session for delivering
        proxy.plan(Operation.ROLE, Fault.INTERNAL, times=2)
        steps = looked(target)
    assert steps["external id"].ok is False
    assert "did not answer" in steps["external id"].said


def test_a_stranger_on_the_same_prefix_is_found(seaweed):
    target = seaweed.target(prefix="shared")
    assert looked(target, "one")["claim"].ok is True
    steps = looked(target, "another")
    assert verdicts(steps) == {"owner": None, "claim": False}
    assert "choose another prefix" in steps["claim"].said


def test_a_bucket_of_somebody_else_is_refused(versitygw):
    steps = looked(versitygw.target(expected_owner="123456789012"))
    assert steps["write"].ok is False


def test_a_store_that_does_not_look_at_the_owner_is_found(seaweed):
    steps = looked(seaweed.target(expected_owner="123456789012"))
    assert verdicts(steps) == {"owner": False}
    assert "does not look at the owner" in steps["owner"].said


def test_an_encryption_that_the_store_does_not_do_is_found(versitygw):
    steps = looked(versitygw.target(encryption="sse-kms", kms_key="alias/logs"))
    assert steps["encryption"].ok is False


def test_a_place_where_somebody_delivered_without_a_claim_is_not_claimed_by_looking(tmp_path):
    """Its own sync does, at its start; another's must not find it done."""
    manifest = tmp_path / "manifests" / "authentication" / "one.json"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    assert looked(DirectoryTarget(path=tmp_path))["claim"].ok is None
    assert not (tmp_path / CLAIM_KEY).exists()


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


def unsigned(endpoint, monkeypatch, name, **more):
    monkeypatch.setenv("ACTIVITY_ANY_KEY_ID", "any")
    monkeypatch.setenv("ACTIVITY_ANY_SECRET", "any")
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket=name)
    credentials = KeyPair(environment="ACTIVITY_ANY")
    return BucketTarget(bucket=name, endpoint=endpoint, path_style=True, credentials=credentials, **more)


def test_an_encryption_that_was_done_is_said(moto, monkeypatch):
    target = unsigned(f"http://127.0.0.1:{moto}", monkeypatch, "kms", encryption="sse-kms", kms_key="alias/logs")
    steps = looked(target)
    assert steps["encryption"].ok is True
    assert steps["encryption"].said == "encrypted with aws:kms under alias/logs"


def test_a_store_that_writes_over_is_found_and_what_helps_is_said(moto, monkeypatch):
    with Proxy(moto, drop_headers=("if-none-match",)) as proxy:
        target = unsigned(proxy.endpoint, monkeypatch, "over")
        steps = looked(target)
        assert verdicts(steps) == {"create-only": False, "large objects": False, "owner": None}
        assert 'set create_only = "head first"' in steps["create-only"].said
        careful = looked(target.model_copy(update={"create_only": "head first"}))
        assert verdicts(careful) == {"owner": None}
        assert "looks before each write" in careful["create-only"].said


def test_no_secret_is_said(seaweed, sts, tmp_path):
    (tmp_path / "keys").write_text(json.dumps({"key_id": "unknown-key-id", "secret": "very-secret-indeed"}))
    for credentials in (KeyPair(file=tmp_path / "keys"), role(seaweed, sts), KeyPair(file=seaweed.keys)):
        for step in looked(seaweed.target(credentials=credentials)).values():
            for secret in ("unknown-key-id", "very-secret", seaweed.keys.read_text()[12:20]):
                assert secret not in step.said
