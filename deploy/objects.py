"""Buckets as a source for `activity ingest`: the intake says what it reads, the sinks know how; only here may both be named."""

from __future__ import annotations

from pydantic import ValidationError

from exporters.sinks.opening import open_sink
from exporters.sinks.target import BucketTarget
from pipeline.errors import ConfigError
from pipeline.intake.places import Objects, Way


def bucket(name: str, way: Way) -> Objects:
    """What lies at s3://bucket/prefix.  Raises ConfigError."""
    where, _, prefix = name.removeprefix("s3://").partition("/")
    said = {
        "bucket": where,
        "prefix": prefix.strip("/"),
        "endpoint": way.endpoint_url or None,
        "path_style": bool(way.endpoint_url),
        "credentials": {"kind": "keys", "file": way.keys} if way.keys else {"kind": "ambient"},
    }
    try:
        target = BucketTarget.model_validate(said | ({"region": way.region} if way.region else {}))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigError(f"{name}: {faults}") from None
    return open_sink(target)
