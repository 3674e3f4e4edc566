"""Where documents go and how the way in is opened: values that can be written down anywhere, for no secret is ever in one.

Keys and tokens are *named*: by a file, or by the environment variables that hold them.  So a target may lie on a topic, on a page or in a log.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from exporters.sinks.sink import checked
from pipeline.errors import ConfigError

ROLE = r"^arn:[a-z-]+:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+$"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KeyPair(_Value):
    """A key id and its secret, in a file or in the environment."""

    kind: Literal["keys"] = "keys"
    file: Path | None = Field(
        None,
        description='File with {"key_id": …, "secret": …} or an AWS credentials file; read again when it changes',
    )
    environment: str | None = Field(
        None,
        pattern=r"^ACTIVITY_[A-Z0-9_]{1,100}$",
        description="Beginning of two variables: NAME_KEY_ID and NAME_SECRET (or NAME_SECRET_FILE)",
    )
    profile: str = Field("default", description="Section of an AWS credentials file")

    @model_validator(mode="after")
    def _one(self) -> KeyPair:
        if (self.file is None) == (self.environment is None):
            raise ValueError("say where the keys are: either file or environment")
        return self


class Ambient(_Value):
    """Whatever this machine is given: an instance profile, a container's role, the vendor's own variables and files."""

    kind: Literal["ambient"] = "ambient"


class Role(_Value):
    """A role in the bucket owner's account, taken on with an external id and renewed before it ends."""

    kind: Literal["role"] = "role"
    role_arn: str = Field(pattern=ROLE, max_length=600)
    external_id: str = Field(min_length=2, max_length=1224, pattern=r"^[a-zA-Z0-9_+=,.@:/-]+$")
    source: Annotated[KeyPair | Ambient, Field(discriminator="kind")] = Field(
        default_factory=Ambient, description="Who asks for the role"
    )
    sts_endpoint: str | None = Field(None, pattern=r"^https?://", description="Empty: the vendor's, in the region")
    session_seconds: int = Field(3600, ge=900, le=43_200)


class WebIdentity(_Value):
    """A role taken on with a token that a cluster keeps fresh in a file."""

    kind: Literal["web_identity"] = "web_identity"
    role_arn: str = Field(pattern=ROLE, max_length=600)
    token_file: Path
    sts_endpoint: str | None = Field(None, pattern=r"^https?://", description="Empty: the vendor's, in the region")
    session_seconds: int = Field(3600, ge=900, le=43_200)


Credentials = Annotated[KeyPair | Ambient | Role | WebIdentity, Field(discriminator="kind")]


class DirectoryTarget(_Value):
    """A directory of this machine, from its root: each process has a working directory of its own."""

    kind: Literal["directory"] = "directory"
    path: Path

    @field_validator("path")
    @classmethod
    def _names_a_place(cls, path: Path) -> Path:
        path.resolve()  # raises ValueError where a sign of it is none that a path may have
        if not path.is_absolute():
            raise ValueError(
                "say s3://bucket/prefix with two slashes, or a directory from its root, as /a/path or file:///a/path"
            )
        return path

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def extent(self) -> tuple[str, ...]:
        return self.path.resolve().parts


class BucketTarget(_Value):
    """A bucket, or a prefix of one."""

    kind: Literal["s3"] = "s3"
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    prefix: str = Field("", max_length=512, description="Without slashes at its ends; empty: the whole bucket")
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{2,40}$")
    endpoint: str | None = Field(None, pattern=r"^https?://", description="Empty: the vendor's")
    path_style: bool = Field(False, description="https://endpoint/bucket/key instead of https://bucket.endpoint/key")
    expected_owner: str | None = Field(None, pattern=r"^\d{12}$", description="Account that must own the bucket")
    encryption: Literal["bucket default", "sse-s3", "sse-kms"] = "bucket default"
    kms_key: str | None = Field(None, description="Key id, ARN or alias; empty: the account's own")
    create_only: Literal["auto", "head first"] = Field(
        "auto",
        description='"auto" asks the store to refuse a taken key, and looks whether it does; "head first" looks for the object before each write',
    )
    credentials: Credentials = Field(default_factory=Ambient)

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        value = value.strip("/")
        return checked(value) if value else value

    @field_validator("bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if ".." in value or re.fullmatch(r"[\d.]+", value):
            raise ValueError("not a bucket's name")
        return value

    @model_validator(mode="after")
    def _key_of_kms(self) -> BucketTarget:
        if self.kms_key and self.encryption != "sse-kms":
            raise ValueError("kms_key needs encryption = sse-kms")
        return self

    @property
    def place(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    @property
    def extent(self) -> tuple[str, ...]:
        store = (self.endpoint or "").casefold().rstrip("/")
        return ("s3:", store, self.bucket, *filter(None, self.prefix.split("/")))


def overlap(one: DirectoryTarget | BucketTarget, other: DirectoryTarget | BucketTarget) -> bool:
    """Whether they are one place, or one lies within the other."""
    return all(a == b for a, b in zip(one.extent, other.extent, strict=False))


Target = Annotated[DirectoryTarget | BucketTarget, Field(discriminator="kind")]
TARGET: TypeAdapter[DirectoryTarget | BucketTarget] = TypeAdapter(Target)


def of_url(url: str, *, endpoint: str = "", region: str = "", keys: Path | None = None) -> BucketTarget:
    """`s3://bucket/prefix` as a person names it on a command line; what is empty is the vendor's or the machine's own.  Raises ConfigError."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    said = {
        "bucket": bucket,
        "prefix": prefix.strip("/"),
        "endpoint": endpoint or None,
        "path_style": bool(endpoint),
        "credentials": {"kind": "keys", "file": keys} if keys else {"kind": "ambient"},
    }
    try:
        return BucketTarget.model_validate(said | ({"region": region} if region else {}))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigError(f"{url}: {faults}") from None
