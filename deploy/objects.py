"""Buckets as a source for `activity ingest`: the intake says what it reads, the sinks know how; only here may both be named."""

from __future__ import annotations

from exporters.sinks.opening import open_sink
from exporters.sinks.target import of_url
from pipeline.intake.places import Objects, Way


def bucket(name: str, way: Way) -> Objects:
    """What lies at s3://bucket/prefix.  Raises ConfigError."""
    return open_sink(of_url(name, endpoint=way.endpoint_url, region=way.region, keys=way.keys))
