"""The door to Kafka's administration: create topics, say how they differ from what they must be, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from pipeline import clock
from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import Settings
from pipeline.topics import TOPICS, Topic

# Kafka may be starting again beside us.  Longer than what a supervisor takes for a quick failure, so that nobody gives us up for that.
PATIENCE_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Facts:
    """A topic as the broker has it."""

    id: str
    partitions: int


def admin(settings: Settings) -> KafkaAdminClient:
    """Raises Unavailable if nobody answers."""
    settings.needs("kafka")
    try:
        return KafkaAdminClient(
            bootstrap_servers=settings.kafka.split(","),
            client_id=f"{settings.app_id}-admin",
            request_timeout_ms=15_000,
            bootstrap_timeout_ms=5_000,
        )
    except KafkaError:
        raise Unavailable(f"Kafka at {settings.kafka} does not answer; start it or correct ACTIVITY_KAFKA") from None


def ready(settings: Settings) -> None:
    """For what runs until it is stopped: Kafka answers and has all our topics.  Raises Unavailable, ConfigError."""
    deadline = clock.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            have = describe(settings)
            break
        except Unavailable:
            if clock.monotonic() > deadline:
                raise
            clock.pause(0.5)
    missing = [name for name in wanted(settings) if name not in have]
    if missing:
        raise ConfigError(f"topics are missing: {', '.join(missing)}; run `activity topics create`")


def wanted(settings: Settings) -> dict[str, tuple[Topic, int]]:
    """{name: (topic, partition count)} under these settings."""
    return {
        t.name(prefix=settings.topic_prefix, app=settings.app_id): (
            t,
            settings.partitions if t.count == "partitions" else 1,
        )
        for t in TOPICS
    }


def describe(settings: Settings) -> dict[str, Facts]:
    """The topics of ours that exist."""
    client = admin(settings)
    try:
        return _describe(client, list(wanted(settings)))
    finally:
        client.close()


def _describe(client: KafkaAdminClient, names: list[str]) -> dict[str, Facts]:
    existing = [n for n in names if n in set(client.list_topics())]
    if not existing:
        return {}
    return {
        t["name"]: Facts(str(t.get("topic_id", "")), len(t["partitions"])) for t in client.describe_topics(existing)
    }


def create(settings: Settings) -> dict[str, str]:
    """Make what is missing and mend settings; {topic: "created" | "exists" | "settings mended"}.  Partition counts are never changed."""
    client = admin(settings)
    try:
        have = _describe(client, list(wanted(settings)))
        done = {}
        for name, (topic, count) in wanted(settings).items():
            if name in have:
                off = _config_differences(client, name, topic)
                if off:
                    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=topic.config)])
                done[name] = "settings mended" if off else "exists"
                continue
            try:
                client.create_topics(
                    {
                        name: {
                            "num_partitions": count,
                            "replication_factor": settings.replication,
                            "configs": topic.config,
                        }
                    }
                )
                done[name] = "created"
            except TopicAlreadyExistsError:
                done[name] = "exists"
        return done
    except KafkaError as error:
        raise Unavailable(
            f"Kafka at {settings.kafka} refused to make topics ({type(error).__name__}: {error})"
        ) from None
    finally:
        client.close()


def check(settings: Settings) -> list[str]:
    """How the broker's topics differ from what they must be, one line each with its remedy; empty if they do not."""
    client = admin(settings)
    try:
        have = _describe(client, list(wanted(settings)))
        lines = []
        counts = {have[n].partitions for n, (t, _) in wanted(settings).items() if n in have and t.count == "partitions"}
        if len(counts) > 1:
            lines.append(
                f"partition counts differ ({', '.join(map(str, sorted(counts)))}): source topics and changelogs must have equally many"
            )
        for name, (topic, count) in wanted(settings).items():
            if name not in have:
                lines.append(f"{name} is missing: run `activity topics create`")
                continue
            if have[name].partitions != count:
                lines.append(
                    f"{name} has {have[name].partitions} partitions, not {count}: set ACTIVITY_PARTITIONS={have[name].partitions}, or choose another ACTIVITY_APP_ID and prefix"
                )
            lines += [
                f"{name}: {key} is {is_}, not {must}: run `activity topics create`"
                for key, is_, must in _config_differences(client, name, topic)
            ]
        return lines
    finally:
        client.close()


def _config_differences(client: KafkaAdminClient, name: str, topic: Topic) -> list[tuple[str, str, str]]:
    described = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")
    found = {
        key: str(data["value"])
        for resource in described.values()
        for configs in resource.values()
        for key, data in configs.items()
    }
    return [(key, found[key], must) for key, must in topic.config.items() if key in found and found[key] != must]
