"""The set-up check of one destination: what `activity sync test NAME` looks at, and for whom it claims the place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exporters.sinks import check as sinks
from exporters.sinks.check import Step
from exporters.sync import keys
from exporters.sync.destinations import Destination, apart, configured
from pipeline import broker, topics
from pipeline.errors import ConfigError, RequestError
from pipeline.settings import Settings


def check(settings: Settings, destinations: Mapping[str, Destination], name: str) -> Iterator[Step]:
    """Step by step.  Raises RequestError for a name that nobody has, ConfigError, Unavailable if Kafka does not answer."""
    if name not in destinations:
        known = ", ".join(sorted(destinations)) or "none"
        raise RequestError(f"there is no destination {name}; there are: {known}", status=404, code="not_found")
    yield from sinks.check(destinations[name].target, owner=owner(settings, name, destinations[name]))


def owner(settings: Settings, name: str, destination: Destination) -> str:
    """Who delivers: the chain, and the log of cuts that remembers it.  Another log knows nothing of what lies there.

    Raises ConfigError, also for a destination of the API that shares the place of one in the settings; Unavailable.
    """
    apart({name: destination} | configured(settings))
    topic = topics.CUTS.name(prefix=settings.topic_prefix, app=settings.app_id)
    facts = broker.describe(settings)
    if topic not in facts:
        raise ConfigError(f"{topic} is not there; run `activity topics create`")
    return f"{destination.chain(name)} of {topic} {keys.short(facts[topic].id)}"
