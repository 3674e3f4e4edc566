"""Looking at a target before anything depends on it: each step is right, or says in plain words what to change.

Everything but the claim is looked at anew each time.  What stays behind below `_activity/` are a few small objects that may be deleted: a role that
may only put cannot tidy up after itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from exporters.sinks import multipart
from exporters.sinks.clients import Timing, bucket, configuration, connect, encryption, within
from exporters.sinks.credentials import hands_out
from exporters.sinks.opening import open_sink
from exporters.sinks.remedies import DENIED, code_of, is_about_signing, is_taken, translated
from exporters.sinks.s3 import PROBE, UNKNOWN_CONDITION
from exporters.sinks.sink import Document, Outcome, Receipt, Sink
from exporters.sinks.target import BucketTarget, DirectoryTarget, Role
from pipeline import clock
from pipeline.errors import ConfigError, Problem, Refused, Unavailable
from pipeline.model.times import iso

CLAIM_KEY = "_activity/claim.json"
NOBODY = "000000000000"  # an account that owns nothing
QUICK = Timing(connect_seconds=5, read_seconds=20, attempts=2)
WRITES_OVER = (
    'the store writes over objects that are there; choose another one, or set create_only = "head first" and allow s3:GetObject: '
    "delivery then looks before each write, which two writers at one moment can outrun"
)


@dataclass(frozen=True, slots=True)
class Step:
    """`ok` None: it could not be looked at, for the reason that `said` gives."""

    name: str
    ok: bool | None
    said: str


class _Change(Exception):  # noqa: N818 - what a step says if something is to be changed
    pass


class _Unseen(Exception):  # noqa: N818 - what a step says if it cannot know
    pass


def check(target: DirectoryTarget | BucketTarget, *, owner: str) -> Iterator[Step]:
    """Look at everything, step by step.  `owner` says who delivers there, for whoever else points at the same place."""
    match target:
        case DirectoryTarget():
            yield from _walk(_Directory(target, owner).steps())
        case BucketTarget():
            yield from _walk(_Bucket(target, owner).steps())


def _walk(steps: dict[str, Callable[[], str]]) -> Iterator[Step]:
    broken = ""
    for name, look in steps.items():
        if broken:
            yield Step(name, None, f"not looked at: first mend “{broken}”")
            continue
        try:
            yield Step(name, True, look())
        except _Unseen as unseen:
            yield Step(name, None, str(unseen))
        except (_Change, Refused, ConfigError) as wrong:
            yield Step(name, False, str(wrong))
            broken = name if name in NEEDED else ""
        except Unavailable as away:
            yield Step(name, False, str(away).removesuffix("; trying again") + "; the store did not answer: try again")
            broken = name if name in NEEDED else ""


# Without these nothing after them can be seen.
NEEDED = ("reach", "sign", "write")


class _Directory:
    def __init__(self, target: DirectoryTarget, owner: str) -> None:
        self._target = target
        self._owner = owner

    def steps(self) -> dict[str, Callable[[], str]]:
        return {"reach": self._reach, "write": self._write, "create-only": self._create_only, "claim": self._claim}

    def _reach(self) -> str:
        self._sink = open_sink(self._target)
        return f"{self._target.place} is a directory"

    def _write(self) -> str:
        self._sink.create(PROBE)
        return "a file was written and synced to the disk"

    def _create_only(self) -> str:
        if self._sink.create(PROBE).outcome is not Outcome.EXISTS:
            raise _Change("files are written over; choose a file system with hard links")
        return "a name that is taken stays as it is"

    def _claim(self) -> str:
        return _claim(self._sink, self._owner)


class _Bucket:
    def __init__(self, target: BucketTarget, owner: str) -> None:
        self._target = target
        self._owner = owner
        self._written: dict[str, Any] = {}

    def steps(self) -> dict[str, Callable[[], str]]:
        return {
            "reach": self._reach,
            "sign": self._sign,
            "write": self._write,
            "create-only": self._create_only,
            "large objects": self._large,
            "encryption": self._encryption,
            "owner": self._owner_of,
            "external id": self._external_id,
            "claim": self._claim,
        }

    def _reach(self) -> str:
        client = connect(self._target, QUICK, signed=False)
        try:
            client.head_bucket(Bucket=self._target.bucket)
        except Exception as error:
            if not code_of(error):  # any answer is one
                raise translated(error, self._target.place) from None
        return f"{self._target.endpoint or 'the vendor'} answers"

    def _sign(self) -> str:
        self._client = connect(self._target, QUICK)
        self._failed: Exception | None = None
        key = f"_activity/tests/{iso(clock.now_ms()).replace(':', '-')}.txt"
        body = f"Written by a set-up check of {self._owner}. May be deleted.\n".encode()
        try:
            self._written = self._put(_document(key, body))
        except Exception as error:
            if is_about_signing(error):
                raise translated(error, self._target.place) from None
            if not is_taken(error):  # by the attempt before, whose answer was lost
                self._failed = error
        return "the store knows who we are"

    def _write(self) -> str:
        if self._failed is not None:
            raise translated(self._failed, self._target.place)
        return "a small object was stored"

    def _create_only(self) -> str:
        if self._target.create_only == "head first":
            return self._looks_first()
        try:
            self._put(PROBE)
            self._put(PROBE)
        except Exception as error:
            if is_taken(error):
                return "a key that is taken stays as it is"
            if code_of(error) not in UNKNOWN_CONDITION:
                raise translated(error, self._target.place) from None
        raise _Change(WRITES_OVER)

    def _looks_first(self) -> str:
        sink = open_sink(self._target)
        try:
            sink.exists(PROBE.key)
        except Refused:
            raise _Change("looking before each write needs s3:GetObject and s3:ListBucket; allow both") from None
        return "as set, delivery looks before each write; two writers at one moment can outrun that"

    def _large(self) -> str:
        """The same for objects in parts: some stores keep the condition for small ones only."""
        if self._target.create_only == "head first":
            return "as for small ones"
        document = replace(PROBE, key=PROBE.key + "-parts")
        about = {"Key": within(self._target, document.key), "ContentType": "text/plain", **encryption(self._target)}
        try:
            for _ in range(2):
                multipart.store(self._client, document, bucket(self._target), about, {"IfNoneMatch": "*"})
        except Exception as error:
            if is_taken(error):
                return "a key that is taken stays as it is for objects over 16 MiB, too"
            if code_of(error) not in UNKNOWN_CONDITION:
                raise translated(error, self._target.place) from None
        raise _Change("objects over 16 MiB are written over; keep cut limits below that, or " + WRITES_OVER)

    def _encryption(self) -> str:
        said = self._written.get("ServerSideEncryption")
        asked = encryption(self._target)
        if not asked:
            return f"as the bucket does it: {said or 'the store says nothing of it'}"
        if said != asked["ServerSideEncryption"]:
            raise _Change(
                f"{self._target.encryption} was asked for and the store did {said or 'nothing'}; it does not know it: set encryption to what it offers"
            )
        return f"encrypted with {said}" + (f" under {self._target.kms_key}" if self._target.kms_key else "")

    def _owner_of(self) -> str:
        if not self._target.expected_owner:
            raise _Unseen(
                "no expected_owner is set; set it to the bucket owner's account, so that a stranger's bucket of this name is refused"
            )
        try:
            self._put(PROBE, ExpectedBucketOwner=NOBODY)
        except Exception as error:
            if code_of(error) in DENIED:
                return f"the bucket belongs to {self._target.expected_owner}, and the store looks at that"
            if not is_taken(error):
                raise translated(error, self._target.place) from None
        raise _Change(
            "the store does not look at the owner; leave expected_owner empty there, it protects from nothing"
        )

    def _external_id(self) -> str:
        said = self._target.credentials
        if not isinstance(said, Role):
            return "no role is taken on"
        config = configuration(self._target, QUICK)
        for wrong, words in ((None, "without an external id"), (said.external_id + "-not", "with another external id")):
            if hands_out(self._target, said, config, wrong):
                raise _Change(
                    f'the role is given away {words}; let its trust policy have the condition "sts:ExternalId" equals the one set here'
                )
        return "the role refuses who does not name the external id"

    def _claim(self) -> str:
        return _claim(open_sink(self._target), self._owner)

    def _put(self, document: Document, **more: str) -> dict[str, Any]:
        ask = {
            **bucket(self._target),
            "Key": within(self._target, document.key),
            "Body": document.body,
            "ContentType": document.media_type,
            "IfNoneMatch": "*",
            **encryption(self._target),
            **more,
        }
        if self._target.create_only == "head first":
            del ask["IfNoneMatch"]
        return dict(self._client.put_object(**ask))


def claim(sink: Sink, owner: str) -> Receipt:
    """Write down once who delivers here.  Two deliveries to one place would prove each other incomplete.

    The hash of the receipt is None if somebody has claimed the place and these rights do not show who.  Raises Unavailable, Refused.
    """
    document = _document(CLAIM_KEY, json.dumps({"delivered by": owner}).encode() + b"\n")
    receipt = sink.create(document)
    if receipt.sha256 not in (document.sha256, None):
        raise Refused(
            f"{sink.place} is claimed by {_claimant(sink)}: if this is that delivery under another name, give it its former name back, "
            f"or choose another prefix; if that one is gone, delete {CLAIM_KEY} there"
        )
    return receipt


def unclaimed(sink: Sink) -> bool:
    """Whether somebody is seen to have delivered who never claimed the place."""
    try:
        return not sink.exists(CLAIM_KEY) and next(iter(sink.objects("manifests/")), None) is not None
    except Refused:
        return False


def _claimant(sink: Sink) -> str:
    """Whoever the claim names, if it can be read: it may be encrypted with a key that may not be used, or be anything."""
    try:
        said = str(json.loads(next(sink.read(CLAIM_KEY)))["delivered by"])[:200]
    except (Problem, ValueError, LookupError, TypeError, StopIteration):
        said = ""
    return said if said.isprintable() and said else "another delivery"


def _claim(sink: Sink, owner: str) -> str:
    if unclaimed(sink):
        raise _Unseen(
            "something was delivered here and is not claimed; the sync claims the place at its start if that was its own"
        )
    receipt = claim(sink, owner)
    if receipt.outcome is Outcome.STORED:
        return f"{sink.place} is claimed for {owner}"
    if receipt.sha256 is not None:
        return f"{sink.place} was claimed for {owner} before"
    return f"{sink.place} was claimed before; by whom cannot be seen with these rights: if not by this delivery, choose another prefix"


def _document(key: str, body: bytes) -> Document:
    return Document(key, body, "text/plain", hashlib.sha256(body).hexdigest())
