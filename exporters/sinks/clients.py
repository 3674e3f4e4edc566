"""From a target to the library's client and its arguments: time-outs, addressing, owner, encryption, each in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore import UNSIGNED
from botocore.config import Config

from exporters.sinks.credentials import session
from exporters.sinks.remedies import code_of, translated
from exporters.sinks.target import Ambient, BucketTarget
from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one request may take, and how often the library itself sends it."""

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    attempts: int = 2
    connections: int = 16


def configuration(target: BucketTarget, timing: Timing, *, signed: bool = True) -> Config:
    """The library's own settings, for S3 and for STS."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": timing.attempts},
        connect_timeout=timing.connect_seconds,
        read_timeout=timing.read_seconds,
        max_pool_connections=timing.connections,
        signature_version="s3v4" if signed else UNSIGNED,
        s3={"addressing_style": "path" if target.path_style else "auto"},
        # We name the checksum of every body ourselves; the library's trailers are not known everywhere.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        user_agent_extra="user-activity",
    )


def connect(target: BucketTarget, timing: Timing, *, signed: bool = True) -> Any:
    """A client for the target; nothing is sent.  Raises ConfigError, Refused."""
    config = configuration(target, timing, signed=signed)
    try:
        made = session(target, config, None if signed else Ambient())
        return made.client("s3", endpoint_url=target.endpoint, config=config)
    except ValueError as error:
        raise ConfigError(f"{target.place}: {error}; correct the target") from None
    except Exception as error:
        raise translated(error, target.place) from None


def make_bucket(target: BucketTarget) -> None:
    """Make the bucket if it is not there; only a server of our own is asked for that.  Raises Unavailable, Refused."""
    client = connect(target, Timing(connect_seconds=1, read_seconds=5, attempts=1))
    try:
        client.create_bucket(Bucket=target.bucket)
    except Exception as error:
        if code_of(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise translated(error, target.place) from None
    finally:
        client.close()


def bucket(target: BucketTarget) -> dict[str, str]:
    """The bucket, and who must own it: goes with every request."""
    owner = {"ExpectedBucketOwner": target.expected_owner} if target.expected_owner else {}
    return {"Bucket": target.bucket, **owner}


def encryption(target: BucketTarget) -> dict[str, Any]:
    """What a new object is to be encrypted with."""
    match target.encryption:
        case "bucket default":
            return {}
        case "sse-s3":
            return {"ServerSideEncryption": "AES256"}
        case "sse-kms":
            key = {"SSEKMSKeyId": target.kms_key} if target.kms_key else {}
            return {"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True, **key}


def within(target: BucketTarget, key: str) -> str:
    """A key of the sink as the bucket has it."""
    return f"{target.prefix}/{key}" if target.prefix else key


def without(target: BucketTarget, key: str) -> str:
    """A key of the bucket as the sink has it."""
    return key.removeprefix(f"{target.prefix}/") if target.prefix else key
