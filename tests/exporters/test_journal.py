"""A refused record changes nothing, today and after compaction."""

from __future__ import annotations

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from exporters.journal import Journal
from pipeline import topics
from tests.exporters.reports.conftest import servers, settings  # noqa: F401 - fixtures
from tests.live.system import eventually

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("runs")]


class Counting:
    """A table that takes only numbers that grow, the first one whatever it is."""

    def __init__(self):
        self.values = {}

    def apply(self, key, value):
        if value is None:
            self.values.pop(key, None)
            return True
        if not value.isdigit():
            return None
        if key in self.values and int(value) <= self.values[key]:
            return False
        self.values[key] = int(value)
        return True


def follow(settings):  # noqa: F811
    table = Counting()
    journal = Journal(settings, topics.REPORTS, {"": table.apply})
    journal.start()
    eventually(lambda: journal.ready)
    return journal, table


def records(settings):  # noqa: F811
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka, enable_auto_commit=False)
    tp = TopicPartition(f"{settings.topic_prefix}.reports", 0)
    consumer.assign([tp])
    consumer.seek_to_beginning(tp)
    end, found = consumer.end_offsets([tp])[tp], []
    while consumer.position(tp) < end:
        found += [(r.key.decode(), r.value) for r in consumer.poll(timeout_ms=200).get(tp, [])]
    consumer.close()
    return found


def write(settings, *pairs):  # noqa: F811
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    for key, value in pairs:
        producer.send(f"{settings.topic_prefix}.reports", key=key, value=value)
    producer.close()


def test_what_a_refused_record_would_hide_is_written_again_behind_it(settings):  # noqa: F811
    journal, table = follow(settings)
    journal.write("a", b"5")
    journal.write("a", b"3")
    assert table.values == {"a": 5}
    eventually(lambda: dict(records(settings)) == {"a": b"5"})
    assert [v for _, v in records(settings)] == [b"5", b"3", b"5"]
    journal.stop()


def test_a_refused_record_of_a_time_when_nobody_listened_is_healed_at_the_next_start(settings):  # noqa: F811
    write(settings, (b"a", b"5"), (b"a", b"3"), (b"b", b"1"))
    journal, table = follow(settings)
    eventually(lambda: dict(records(settings)) == {"a": b"5", "b": b"1"})
    journal.stop()
    again, table = follow(settings)  # once healed, nothing is left to heal
    again.write("c", b"1")
    assert len(records(settings)) == 5
    assert table.values == {"a": 5, "b": 1, "c": 1}
    again.stop()


def test_it_is_followed_on_when_a_listener_fails(settings):  # noqa: F811
    journal, table = follow(settings)

    def fail():
        unlisten()
        raise ZeroDivisionError

    unlisten = journal.listen(fail)
    journal.write("a", b"1")
    journal.write("b", b"2")
    assert table.values == {"a": 1, "b": 2}
    journal.stop()


def test_what_is_not_ours_stays_as_it_is(settings):  # noqa: F811
    write(settings, (b"a", b"5"), (b"a", b"of a later version"))
    journal, _ = follow(settings)
    journal.write("b", b"1")
    assert dict(records(settings)) == {"a": b"of a later version", "b": b"1"}
    journal.stop()
