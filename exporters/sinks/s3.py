"""S3 and what speaks like it: every object is put with `If-None-Match: *`, so that nothing is ever written over, and `s3:PutObject` suffices.

    PUT ──► 200 with its tag   STORED
        ──► 412                a question: ours, stored by an attempt whose reply was lost, or another's?  HEAD tells its hash, if we may look
        ──► anything else      Unavailable or Refused, by the table of remedies; what raises may have been stored

A store that does not know the condition would write over.  So the first delivery of a process puts one small object of constant bytes twice, below
its prefix: the second must be a 412.  If it is not, this sink looks with HEAD before each write (`create_only` says so); that leaves a gap between
the look and the write, and needs the right to look.

The library's own repetition is one quick second attempt; whoever delivers has the loop that goes on for ever.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Literal, TypeVar

from botocore.exceptions import ClientError

from exporters.sinks import multipart
from exporters.sinks.clients import Timing, bucket, connect, encryption, within, without
from exporters.sinks.remedies import ENDED, code_of, is_taken, status_of, translated
from exporters.sinks.sink import CHUNK_BYTES, Document, Missing, Object, Outcome, Receipt, checked
from exporters.sinks.target import BucketTarget
from pipeline import logs
from pipeline.errors import Refused, Unavailable

log = logs.logger("sinks")
T = TypeVar("T")

_SAID = b"Put twice at a start, to see that this store never writes over an object. May be deleted.\n"
# Our own objects below a prefix lie there; no event does.
PROBE = Document("_activity/create-only", _SAID, "text/plain", hashlib.sha256(_SAID).hexdigest())
SHA256_META = "sha256"
NOT_THERE = ("NoSuchKey", "404", "NotFound")
UNKNOWN_CONDITION = ("NotImplemented", "501")

CreateOnly = Literal["unknown", "native", "head first"]


class S3Sink:
    """A prefix of a bucket."""

    def __init__(self, target: BucketTarget, timing: Timing | None = None) -> None:
        self.place = target.place
        self._target = target
        self._timing = timing or Timing()
        self._lock = threading.Lock()
        self._create_only: CreateOnly = "head first" if target.create_only == "head first" else "unknown"
        self._bucket = bucket(target)
        self._client = connect(target, self._timing)

    @property
    def create_only(self) -> CreateOnly:
        """Who keeps what lies there: the store, or our look before each write; not known before the first delivery."""
        return self._create_only

    def create(self, document: Document) -> Receipt:
        key = checked(document.key)
        if self._create_only == "unknown":
            self._learn()
        if self._create_only == "head first" and (there := self._look(key)) is not None:
            return there
        try:
            self._store(key, document)
        except Exception as error:
            if not is_taken(error):
                raise translated(error, self.place) from None
            receipt = self._question(key)
        else:
            receipt = Receipt(Outcome.STORED, document.sha256)
        if document.size > multipart.PART_BYTES:
            self._sweep(key)
        return receipt

    def objects(self, prefix: str = "") -> Iterator[Object]:
        ask: dict[str, str] = {**self._bucket, "Prefix": within(self._target, prefix)}
        while True:
            with self._translated():
                page = self._fresh(lambda c: dict(c.list_objects_v2(**ask)))
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):  # what consoles make to show a folder
                    yield Object(without(self._target, entry["Key"]), entry["Size"], entry.get("ETag", "").strip('"'))
            if not page.get("IsTruncated"):
                return
            ask["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, key: str) -> Iterator[bytes]:
        with self._translated(missing=key):
            answer = self._fresh(lambda c: c.get_object(**self._bucket, Key=within(self._target, key)))
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(CHUNK_BYTES)

    def exists(self, key: str) -> bool:
        return self._head(key) is not None

    def close(self) -> None:
        self._client.close()

    # -- writing

    def _store(self, key: str, document: Document) -> None:
        condition = {} if self._create_only == "head first" else {"IfNoneMatch": "*"}
        about = {
            "Key": within(self._target, key),
            "ContentType": document.media_type,
            "Metadata": {SHA256_META: document.sha256},
            **encryption(self._target),
        }
        if document.size > multipart.PART_BYTES:
            self._fresh(lambda c: multipart.store(c, document, self._bucket, about, condition))
            return
        answer = self._fresh(
            lambda c: c.put_object(
                **self._bucket,
                **about,
                **condition,
                Body=b"".join(document.pieces()),
                ChecksumSHA256=base64.b64encode(bytes.fromhex(document.sha256)).decode(),
            )
        )
        multipart.whole(answer, "ETag")

    def _question(self, key: str) -> Receipt:
        """What a 412 means: something lies there; its hash, if we may look."""
        try:
            there = self._look(key)
        except Refused:
            return Receipt(Outcome.EXISTS, None)
        if there is None:
            raise Unavailable(f"{self.place}: the store says that {key} is taken and shows nothing there; trying again")
        return there

    def _look(self, key: str) -> Receipt | None:
        found = self._head(key)
        return None if found is None else Receipt(Outcome.EXISTS, _hash(found))

    def _learn(self) -> None:
        """Whether the store refuses a taken key.  Raises Unavailable, Refused."""
        with self._lock:
            if self._create_only != "unknown":
                return
            try:
                self._store(PROBE.key, PROBE)
                self._store(PROBE.key, PROBE)
            except Exception as error:
                if is_taken(error):
                    self._create_only = "native"
                    return
                if code_of(error) not in UNKNOWN_CONDITION:
                    raise translated(error, self.place) from None
            self._create_only = "head first"
            log.warning("the store does not refuse a taken key: looking before each write", place=self.place)

    def _sweep(self, key: str) -> None:
        """Give up the uploads of this key that a death left open: the object is there, so they can add nothing."""
        try:
            multipart.sweep(self._client, self._bucket, within(self._target, key))
        except Exception as error:  # only tidying, and often not permitted
            log.debug("open uploads could not be looked for", place=self.place, error=type(error).__name__)

    # -- reading

    def _head(self, key: str) -> dict[str, Any] | None:
        """What is known of an object, None if there is none.  Its checksum may be hidden from who may not decrypt it."""
        ask = {**self._bucket, "Key": within(self._target, key)}
        with self._translated():
            for more in ({"ChecksumMode": "ENABLED"}, {}):
                try:
                    return self._fresh(partial(_head_object, ask | more))
                except ClientError as error:
                    if code_of(error) in NOT_THERE:
                        return None
                    if status_of(error) != 403 or not more:
                        raise
        raise AssertionError("unreachable")

    # -- asking

    def _fresh(self, ask: Callable[[Any], T]) -> T:
        """Ask; once more with a new session if the answer is that this one has ended."""
        client = self._client
        try:
            return ask(client)
        except ClientError as error:
            if code_of(error) not in ENDED:
                raise
        if self._client is client:  # two threads may both connect anew; that costs a request, never a result
            self._client = connect(self._target, self._timing)
        return ask(self._client)

    @contextmanager
    def _translated(self, *, missing: str | None = None) -> Iterator[None]:
        try:
            yield
        except ValueError:
            raise
        except Exception as error:
            if missing is not None and code_of(error) in NOT_THERE:
                raise Missing(f"{self.place}: no object {missing}") from None
            raise translated(error, self.place) from None


def _head_object(ask: dict[str, str], client: Any) -> dict[str, Any]:
    return dict(client.head_object(**ask))


def _hash(found: dict[str, Any]) -> str | None:
    """The SHA-256 of an object: what the store computed, else what its writer wrote beside it.  Of parts only the latter is one of the whole."""
    computed = found.get("ChecksumSHA256", "")
    if computed and "-" not in computed:
        try:
            return base64.b64decode(computed, validate=True).hex()
        except binascii.Error:
            pass
    said = found.get("Metadata", {}).get(SHA256_META, "")
    return said if re.fullmatch(r"[0-9a-f]{64}", said) else None
