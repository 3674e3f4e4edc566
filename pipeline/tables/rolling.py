"""The two rolling tables: which records they take, how these are judged, what they add up to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipeline import topics
from pipeline.broker import Facts
from pipeline.engine.table import Spec
from pipeline.model.dialects import decode_authentications, decode_connections
from pipeline.model.protocol import Rollup
from pipeline.model.rollups import AuthenticationRollup, ConnectionRollup
from pipeline.model.verdicts import Decode, Verdicts
from pipeline.settings import Settings
from pipeline.topics import Topic

_TABLES: tuple[tuple[Topic, Topic, type[Rollup], Decode], ...] = (
    (topics.CONNECTIONS, topics.CONNECTIONS_CHANGELOG, ConnectionRollup, decode_connections),
    (topics.AUTHENTICATIONS, topics.AUTHENTICATIONS_CHANGELOG, AuthenticationRollup, decode_authentications),
)


def specs(settings: Settings, facts: dict[str, Facts]) -> list[Spec]:
    """One spec per table; `facts` are the broker's topics."""
    name: Callable[[Topic], str] = lambda t: t.name(prefix=settings.topic_prefix, app=settings.app_id)  # noqa: E731
    return [
        Spec(
            role=source.role,
            source=name(source),
            changelog=name(changelog),
            source_id=facts[name(source)].id,
            changelog_id=facts[name(changelog)].id,
            rollup=rollup,
            verdicts=partial(Verdicts, decode),
            fragment_bytes=settings.fragment_bytes,
        )
        for source, changelog, rollup, decode in _TABLES
    ]
