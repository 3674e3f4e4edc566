"""Where events go and as what: values without a secret in them, from settings or from the topic of the sync.

A destination is known by its name *and* its place: pointing a name at another bucket or prefix begins a new delivery there, complete in itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from exporters.mail.addresses import Recipient
from exporters.sinks.target import Target, overlap
from exporters.sync import keys
from exporters.sync.envelopes import AUTHENTICATION, NETWORK_ACCESS
from pipeline import topics
from pipeline.errors import ConfigError
from pipeline.model.events import AUTHENTICATION_TYPES, ESTABLISHED, FAILED_DNS, FAILED_OTHER, SUCCESS
from pipeline.settings import Settings
from pipeline.topics import Topic

NAME = r"^[a-z0-9][a-z0-9-]{0,39}$"
SOURCES: dict[str, Topic] = {AUTHENTICATION: topics.AUTHENTICATIONS, NETWORK_ACCESS: topics.CONNECTIONS}
TYPES = (*AUTHENTICATION_TYPES, ESTABLISHED, SUCCESS, FAILED_DNS, FAILED_OTHER)


def _spelled_out(target: Any) -> Any:
    """`s3://bucket/prefix` and a path are short for the target they name."""
    if not isinstance(target, str):
        return target
    said = target.strip()
    scheme, there, rest = said.partition("://")
    if there and scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        return {"kind": "s3", "bucket": bucket, "prefix": prefix}
    return {"kind": "directory", "path": rest if there and scheme == "file" else said}


class Webhook(BaseModel):
    """Where notices are posted.  The secret that signs them is named, never written here."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(pattern=r"^https?://", max_length=2000)
    secret_file: str = Field("", description="File with the secret that signs each notice (HMAC-SHA256)")


class Destination(BaseModel):
    """One delivery.  Units are in the names."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    target: Annotated[Target, BeforeValidator(_spelled_out)] = Field(
        description="`s3://bucket/prefix`, a directory, or a table with region, endpoint, credentials, encryption …"
    )
    kinds: tuple[Literal["authentication", "network_access"], ...] = Field(
        ("authentication",), min_length=1, description="Which events; each kind has a prefix of its own"
    )
    format: Literal["vendor", "ocsf"] = Field("vendor", description="The vendor's envelope, or OCSF 1.8")
    naming: Literal["offsets", "vendor"] = Field("offsets", description="Names of objects")
    compression: Literal["none", "gzip", "zstd"] = Field("gzip", description="Compression of objects")
    cut_bytes: int = Field(10 << 20, ge=1024, le=64 << 20, description="Bytes of JSON after which an object is cut")
    cut_events: int = Field(10_000, ge=1, le=1_000_000, description="Events after which an object is cut")
    age_seconds: float = Field(300, gt=0, le=86_400, description="Age of its first event at which an object is cut")
    idle_seconds: float = Field(60, gt=0, le=86_400, description="Silence after which an object is cut")
    manifest_seconds: float = Field(
        3600, gt=0, le=3600, description="How often a manifest tells what is new; one for each hour in any case"
    )
    types: tuple[str, ...] = Field((), description="Only these types; empty: all")
    results: tuple[Literal["success", "failure"], ...] = Field((), description="Only these results; empty: all")
    users: tuple[str, ...] = Field((), description="Only these users, by e-mail or id; empty: all")
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a new delivery begins: with everything Kafka still has, or with what comes now"
    )
    webhook: Webhook | None = Field(None, description="Where notices are posted")
    mail: tuple[Recipient, ...] = Field((), description="Who gets notices by mail")

    @field_validator("types")
    @classmethod
    def _types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [t for t in types if t not in TYPES]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(TYPES)}")
        return types

    @property
    def revision(self) -> str:
        """Changes when other bytes would come out."""
        content = self.model_dump(include={"format", "naming", "compression", "types", "results", "users"}, mode="json")
        return keys.short(msgspec.json.encode(content, order="sorted").decode())

    def chain(self, name: str) -> str:
        """What the cuts of this delivery are filed under."""
        return f"{name}@{keys.short(self.target.place)}"


def parse(name: str, content: Any) -> Destination:
    """Raises ConfigError that names every fault."""
    if not re.fullmatch(NAME, name):
        raise ConfigError(
            f"destination {name!r}: a name is made of a-z, 0-9 and -, at most 40, and begins with a letter or digit"
        )
    try:
        return Destination.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_input=False)
        )
        raise ConfigError(f"destination {name}: {faults}") from None


def configured(settings: Settings) -> dict[str, Destination]:
    """The destinations in the settings.  Raises ConfigError that names every fault of all of them."""
    found, faults = {}, []
    for name, content in settings.destinations.items():
        try:
            found[name] = parse(name, content)
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    apart(found)
    return found


def apart(destinations: Mapping[str, Destination]) -> None:
    """Raises ConfigError if two of them share a place."""
    names = sorted(destinations)
    for n, name in enumerate(names):
        destination = destinations[name]
        if other := overlapping(name, destination, {o: destinations[o] for o in names[:n]}):
            raise ConfigError(
                f"destinations {other} and {name} share {destination.target.place}: give each a prefix of its own"
            )


def overlapping(name: str, destination: Destination, others: Mapping[str, Destination]) -> str:
    """The first other destination whose objects would lie among this one's, or the other way round; "": none."""
    return next((o for o, d in others.items() if o != name and overlap(d.target, destination.target)), "")
