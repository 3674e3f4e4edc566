"""Who may: policies on a server that enforces them (moto with its authentication on), roles, external ids and tokens.

moto lets two things pass that a real STS refuses, a missing external id and an unknown role: those two are held against a stub of ours.
"""

import hashlib
import json
import re
import urllib.request

import boto3
import pytest
from moto.server import ThreadedMotoServer

from exporters.sinks.clients import Timing
from exporters.sinks.s3 import S3Sink
from exporters.sinks.sink import Document, Outcome, Receipt
from exporters.sinks.target import BucketTarget, KeyPair, Role, WebIdentity
from pipeline.errors import Refused, Unavailable
from tests.faults.proxy import Fault, Operation, Proxy
from tests.faults.sts import EXTERNAL_ID, ROLE, Sts

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("s3")]
OFF = 1_000_000_000  # requests until the authentication begins
QUICK = Timing(connect_seconds=2, read_seconds=10, attempts=1)


def document(key="a/one", body=b"one\n"):
    return Document(key, body, "application/x-ndjson", hashlib.sha256(body).hexdigest())


@pytest.fixture(scope="module")
def moto():
    """Users, a role and a bucket are set up unauthenticated; from then on every request is judged."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    _authentication(endpoint, OFF)
    yield endpoint
    _authentication(endpoint, OFF)
    server.stop()


def _authentication(endpoint, after):
    body, plain = str(after).encode(), {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset-auth", body, plain)).read()


class Cloud:
    """One account with the bucket `logs`."""

    def __init__(self, endpoint, tmp_path):
        self.endpoint = endpoint
        self.tmp_path = tmp_path
        _authentication(endpoint, OFF)
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).read()
        self._owner = {
            "endpoint_url": endpoint,
            "region_name": "us-east-1",
            "aws_access_key_id": "o",
            "aws_secret_access_key": "o",
        }
        self.s3 = boto3.client("s3", **self._owner)
        self.iam = boto3.client("iam", **self._owner)
        self.s3.create_bucket(Bucket="logs")

    def user(self, *actions, resource="arn:aws:s3:::logs/*"):
        name = f"u{len(self.iam.list_users()['Users'])}"
        self.iam.create_user(UserName=name)
        if actions:
            self.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_policy(actions, resource))
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        path = self.tmp_path / name
        path.write_text(json.dumps({"key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}))
        return KeyPair(file=path)

    def role(self, *actions):
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
                }
            ],
        }
        made = self.iam.create_role(RoleName="delivery", AssumeRolePolicyDocument=json.dumps(trust))
        self.iam.put_role_policy(
            RoleName="delivery", PolicyName="p", PolicyDocument=_policy(actions, "arn:aws:s3:::logs/*")
        )
        return made["Role"]["Arn"]

    def enforced(self):
        _authentication(self.endpoint, 0)

    def target(self, credentials, **more):
        return BucketTarget(bucket="logs", endpoint=self.endpoint, path_style=True, credentials=credentials, **more)


def _policy(actions, resource):
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": resource}]}
    )


@pytest.fixture
def cloud(moto, tmp_path):
    made = Cloud(moto, tmp_path)
    yield made
    _authentication(moto, OFF)


def test_the_right_to_put_is_all_that_delivery_needs(cloud):
    sink = S3Sink(cloud.target(cloud.user("s3:PutObject")))
    cloud.enforced()
    assert sink.create(document()).outcome is Outcome.STORED
    assert sink.create(document()) == Receipt(Outcome.EXISTS, None)
    assert sink.create(document("a/two", bytes(17 << 20))).outcome is Outcome.STORED
    assert sink.create(document("a/two", bytes(17 << 20))) == Receipt(Outcome.EXISTS, None)
    with pytest.raises(Refused, match="AccessDenied"):
        list(sink.objects())


def test_with_the_right_to_look_the_hash_of_what_is_there_is_known(cloud):
    sink = S3Sink(cloud.target(cloud.user("s3:PutObject", "s3:GetObject", "s3:ListBucket", resource="*")))
    cloud.enforced()
    sink.create(document())
    assert sink.create(document(body=b"other")) == Receipt(Outcome.EXISTS, document().sha256)


def test_without_the_right_to_put_the_remedy_names_it(cloud):
    sink = S3Sink(cloud.target(cloud.user("s3:GetObject"), prefix="events"))
    cloud.enforced()
    with pytest.raises(Refused, match=r"allow s3:PutObject on s3://logs/events/\*"):
        sink.create(document())


def test_a_right_on_another_prefix_is_not_enough(cloud):
    user = cloud.user("s3:PutObject", resource="arn:aws:s3:::logs/other/*")
    sinks = {p: S3Sink(cloud.target(user, prefix=p)) for p in ("other", "events")}
    cloud.enforced()
    assert sinks["other"].create(document()).outcome is Outcome.STORED
    with pytest.raises(Refused, match="AccessDenied"):
        sinks["events"].create(document())


def test_a_role_with_its_external_id_delivers_and_with_another_is_refused(cloud):
    arn = cloud.role("s3:PutObject")
    asking = cloud.user("sts:AssumeRole", resource="*")
    good = Role(role_arn=arn, external_id=EXTERNAL_ID, source=asking, sts_endpoint=cloud.endpoint)
    right, wrong = (
        S3Sink(cloud.target(role)) for role in (good, good.model_copy(update={"external_id": "of-another-customer"}))
    )
    cloud.enforced()
    assert right.create(document()).outcome is Outcome.STORED
    with pytest.raises(Refused, match=r"AssumeRole; let the role trust this identity with this external id"):
        wrong.create(document("b"))


@pytest.fixture
def sts(seaweed):
    with Sts(json.loads(seaweed.keys.read_text())) as made:
        yield made


def role(sts, seaweed, **more):
    said = {"role_arn": ROLE, "external_id": EXTERNAL_ID, "source": KeyPair(file=seaweed.keys)}
    return Role(**{**said, "sts_endpoint": sts.endpoint, **more})


def test_an_unknown_role_is_refused(sts, seaweed):
    """The stub knows one role only; moto would hand out keys for any."""
    sink = S3Sink(seaweed.target(credentials=role(sts, seaweed, role_arn=ROLE + "-of-nobody")))
    with pytest.raises(Refused, match="let the role trust"):
        sink.create(document())


def test_the_external_id_goes_with_every_request_for_a_role(sts, seaweed):
    """The stub refuses who does not name it; moto would not."""
    sink = S3Sink(seaweed.target(credentials=role(sts, seaweed)))
    assert sink.create(document()).outcome is Outcome.STORED
    assert [asked["ExternalId"] for asked in sts.asked] == [EXTERNAL_ID]
    assert sts.asked[0]["RoleSessionName"] == "user-activity"


def test_one_session_serves_many_requests(sts, seaweed):
    sink = S3Sink(seaweed.target(credentials=role(sts, seaweed)))
    for number in range(5):
        sink.create(document(f"n/{number}"))
    assert len(sts.asked) == 1


def test_a_session_is_renewed_before_it_ends(sts, seaweed):
    sts.seconds = 60  # a minute of an hour asked for: renewed with each request, never used to its end
    sink = S3Sink(seaweed.target(credentials=role(sts, seaweed)))
    for number in range(3):
        sink.create(document(f"r/{number}"))
    assert len(sts.asked) > 1


def test_a_caller_that_nobody_knows_is_named_as_the_cause(sts, seaweed):
    sts.caller = "somebody-else"
    sink = S3Sink(seaweed.target(credentials=role(sts, seaweed)))
    with pytest.raises(Refused, match="who asks for the role is not known there"):
        sink.create(document())


def test_a_session_that_the_store_calls_ended_is_opened_anew_once(sts, seaweed):
    with Proxy(int(seaweed.endpoint.rsplit(":", 1)[1])) as proxy:
        sink = S3Sink(seaweed.target(credentials=role(sts, seaweed), endpoint=proxy.endpoint), QUICK)
        sink.create(document("e/0"))
        proxy.plan(Operation.PUT, Fault.FORBIDDEN, status=400, code="ExpiredToken")
        assert sink.create(document("e/1")).outcome is Outcome.STORED
        assert len(sts.asked) == 2
        proxy.plan(Operation.PUT, Fault.FORBIDDEN, status=400, code="ExpiredToken", times=2)
        with pytest.raises(Refused, match="refused as expired"):
            sink.create(document("e/2"))


def test_a_web_identity_token_is_read_anew_each_time(sts, seaweed, tmp_path):
    token = tmp_path / "token"
    said = WebIdentity(role_arn=ROLE, token_file=token, sts_endpoint=sts.endpoint)
    sink = S3Sink(seaweed.target(credentials=said))
    with pytest.raises(Refused, match="token cannot be read; put the token there"):
        sink.create(document("w"))
    token.write_text("root:x:0:0:root:/root:/bin/sh")
    asked = len(sts.asked)
    with pytest.raises(Refused, match="holds no web identity token"):
        sink.create(document("w"))
    assert len(sts.asked) == asked, "what is no token was sent away"
    token.write_text("eyJhbGciOi.of-another.cluster")
    with pytest.raises(Refused, match="InvalidIdentityToken"):
        sink.create(document("w"))
    token.write_text(sts.token + "\n")
    assert sink.create(document("w")).outcome is Outcome.STORED
    assert "authorization" not in {k for k, v in sts.asked[-1].items() if v}, "a token is enough: nothing else signs"


@pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.UNAVAILABLE, Fault.TIME_OUT, Fault.TRUNCATED])
def test_an_sts_that_is_away_is_waited_for(sts, seaweed, fault):
    with Proxy(sts.port) as proxy:
        sink = S3Sink(
            seaweed.target(credentials=role(sts, seaweed, sts_endpoint=proxy.endpoint)),
            Timing(connect_seconds=2, read_seconds=1, attempts=1),
        )
        proxy.plan(Operation.ROLE, fault)
        with pytest.raises(Unavailable):
            sink.create(document("s"))
        assert sink.create(document("s")).outcome is Outcome.STORED


def without(name):
    return lambda body: re.sub(f"<{name}>.*</{name}>", "", body)


@pytest.mark.parametrize(
    "odd",
    [
        without("Credentials"),
        without("AccessKeyId"),
        without("Expiration"),
        lambda body: re.sub("<Expiration>.*</Expiration>", "<Expiration>soon</Expiration>", body),
        lambda _: "<html><body>Please log in</body></html>",
        lambda _: "",
    ],
)
def test_an_answer_of_sts_that_makes_no_sense_is_waited_for_with_what_to_do(sts, seaweed, tmp_path, odd):
    token = tmp_path / "token"
    token.write_text(sts.token)
    by_token = WebIdentity(role_arn=ROLE, token_file=token, sts_endpoint=sts.endpoint)
    for said in (role(sts, seaweed), by_token):
        sink = S3Sink(seaweed.target(credentials=said), QUICK)
        sts.odd = odd
        with pytest.raises(Unavailable):
            sink.create(document("o"))
        sts.odd = lambda body: body
        assert sink.create(document("o")).outcome in (Outcome.STORED, Outcome.EXISTS)


def test_a_session_that_has_ended_when_it_is_given_is_a_matter_of_clocks(sts, seaweed):
    sts.seconds = -60
    sink = S3Sink(seaweed.target(credentials=role(sts, seaweed)), QUICK)
    with pytest.raises(Refused, match=r"set this machine's clock"):
        sink.create(document("p"))
