"""Destinations: what can be set, what is refused in one line, and that no secret is ever in one."""

from __future__ import annotations

import msgspec
import pytest

from exporters.sync.desk import (
    ERRORS,
    REQUIRES_ATTENTION,
    SILENT_MS,
    Desk,
    Episode,
    LaneState,
    Paused,
    State,
    following,
)
from exporters.sync.destinations import Webhook, configured, parse
from exporters.sync.notices import payload, post, signature
from pipeline import clock, settings
from pipeline.errors import ConfigError, Refused, Unavailable


def load(tmp_path, text: str):
    (tmp_path / "activity.toml").write_text(text)
    return configured(settings.load(tmp_path))


def test_tables_and_json_say_the_same(tmp_path, monkeypatch):
    from_table = load(
        tmp_path,
        '[destinations.siem]\ntarget = "s3://bucket/some/prefix/"\nkinds = ["authentication", "network_access"]\n',
    )
    (tmp_path / "activity.toml").unlink()
    monkeypatch.setenv(
        "ACTIVITY_DESTINATIONS",
        '{"siem": {"target": {"kind": "s3", "bucket": "bucket", "prefix": "some/prefix"}, "kinds": ["authentication", "network_access"]}}',
    )
    assert configured(settings.load(tmp_path)) == from_table
    file = tmp_path / "destinations.json"
    file.write_text('{"siem": {"target": "/out"}}')
    monkeypatch.delenv("ACTIVITY_DESTINATIONS")
    monkeypatch.setenv("ACTIVITY_DESTINATIONS_FILE", str(file))
    assert configured(settings.load(tmp_path))["siem"].target.place == "/out"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[destinations.a]\ntarget = "s3://B/x"\n', "a: target"),
        ('[destinations.A]\ntarget = "/x"\n', "destination 'A': a name is made of"),
        ('[destinations.a]\ntarget = "/x"\ncut_events = 0\n', "a: cut_events"),
        ('[destinations.a]\ntarget = "/x"\ntypes = ["sign_in"]\n', "sign_in: not one of client_login"),
        ('[destinations.a]\ntarget = "/x"\n[destinations.b]\ntarget = "/x"\n', "a and b share /x"),
        ('[destinations.a]\ntarget = "/y/../x"\n[destinations.b]\ntarget = "/x/z"\n', "a and b share /x/z"),
        (
            '[destinations.a]\ntarget = "s3://bucket/x"\n[destinations.b]\ntarget = "s3://bucket"\n',
            "a and b share s3://",
        ),
        ('[destinations.a]\ntarget = "/x"\n[destinations.b]\n', "b: target"),
        *(
            (
                f'[destinations.a]\ntarget = "{target}"\n',
                "a: target.directory.path: say s3://bucket/prefix with two slashes, or a directory",
            )
            for target in (
                *("", " ", "S3://bucket/p", "gs://bucket/p", "https://b.s3.amazonaws.com/p", "file://host/a"),
                *("s3:/bucket/p", "~/out", "out", "./out", "file:out"),
            )
        ),
        ('[destinations.a]\ntarget = "/a\\u0000b"\n', "a: target"),
        ('destinations = "{"\n', "not JSON"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(tmp_path, text, says):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_short_form_is_what_it_is_short_for():
    long = {"kind": "s3", "bucket": "bucket", "prefix": "p"}
    for short in ("s3://bucket/p", " s3://bucket/p/ ", long | {"prefix": "p/"}):
        assert parse("a", {"target": short}) == parse("a", {"target": long})
    for short in ("/a/b", "file:///a/b", " /a/b "):
        assert parse("a", {"target": short}).target.place == "/a/b"


def test_one_prefix_in_two_stores_is_two_places():
    own = {"kind": "s3", "bucket": "bucket", "prefix": "p"}
    both = {"a": {"target": own}, "b": {"target": own | {"endpoint": "https://store.example.com"}}}
    assert set(configured(settings.Settings(destinations=both))) == {"a", "b"}


def test_a_secret_in_the_settings_is_refused_and_not_repeated():
    with pytest.raises(ConfigError) as error:
        parse("a", {"target": {"kind": "s3", "bucket": "bucket", "secret_access_key": "hunter2hunter2"}})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("address", ["not an address", "jörg@x.example", "a@x.example\nBcc: v@y.example"])
def test_who_cannot_be_mailed_is_refused_and_stops_no_delivery_that_names_them_already(address):
    content = {"target": "/tmp/a", "mail": ["ops@x.example", address]}
    with pytest.raises(ConfigError, match=r"mail\.1: .* is not an e-mail address") as error:
        parse("a", content)
    assert "\n" not in str(error.value)
    desk = Desk(settings.Settings(kafka="nowhere:1"))
    desk._destination("destination/a", msgspec.json.encode(content))
    assert desk.destinations()["a"].mail == ("ops@x.example",)


def test_the_revision_changes_with_the_bytes_and_the_chain_with_the_place():
    one = parse("a", {"target": "s3://bucket/x"})
    assert parse("a", {"target": "s3://bucket/x", "cut_events": 7}).revision == one.revision
    assert parse("a", {"target": "s3://bucket/x", "users": ["1"]}).revision != one.revision
    assert parse("a", {"target": {"kind": "s3", "bucket": "bucket", "prefix": "x", "region": "eu-west-1"}}).chain(
        "a"
    ) == one.chain("a")
    assert parse("a", {"target": "s3://bucket/y"}).chain("a") != one.chain("a")


def test_a_delivery_is_paused_once_everybody_who_is_alive_rests():
    desk, destination = Desk(settings.Settings(kafka="nowhere:1")), parse("a", {"target": "/tmp/a"})
    apply = dict(desk.journal._tables)

    def say(key: str, value) -> str:
        apply[f"{key.partition('/')[0]}/"](key, msgspec.json.encode(value))
        return desk.summary("a", destination).state

    def state(member: str, at: int = 0, *, resting: int) -> State:
        return State(at or clock.now_ms(), member, [], resting=resting)

    assert say("paused/a", Paused(5)) == "paused"
    assert say("state/a/one", state("one", resting=5)) == "paused"
    assert say("state/a/two", state("two", resting=0)) == "pausing"
    assert say("state/a/two", state("two", at=5, resting=0)) == "paused", "one that fell silent is not waited for"
    assert say("paused/a", Paused(6)) == "pausing", "it rests under the pause before"


def test_how_far_a_delivery_is_is_not_known_while_a_partition_is_with_no_process():
    desk, destination = (
        Desk(settings.Settings(kafka="nowhere:1", session_timeout_seconds=30)),
        parse("a", {"target": "/tmp/a"}),
    )

    def say(member: str, *held: int, at: int = 0) -> tuple:
        lanes = [LaneState("t", n, delivered=7, end=9, waiting_since=clock.now_ms() - 5000) for n in held]
        state = State(at or clock.now_ms(), member, lanes, partitions=3)
        desk._states[f"a/{member}"] = state
        found = desk.summary("a", destination)
        return found.state, found.lag_records, found.lag_seconds and round(found.lag_seconds), found.problem

    def waits(count: int) -> str:
        return f"{count} of 3 partitions are with no process yet; after a crash that takes up to 30 s"

    nothing = desk.summary("a", destination)
    assert (nothing.state, nothing.lag_records, nothing.lag_seconds) == ("nobody delivers", None, None)
    desk._states["a/new"] = State(clock.now_ms(), "new", [])  # it does not know the topics yet
    assert desk.summary("a", destination).problem.startswith("all partitions are with no process yet")
    assert say("one") == ("rebalancing", None, None, waits(3))
    assert say("one", 0) == ("rebalancing", None, None, waits(2))
    assert say("two", 1, 2) == ("delivering", 6, 5, "")
    assert say("two", 1, 2, at=clock.now_ms() - SILENT_MS - 1) == ("rebalancing", None, None, waits(2))


@pytest.mark.parametrize(
    ("delivered", "waiting_since", "seconds"), [(9, 0, 0.0), (7, 0, None), (7, 5_000, 5.0), (9, 5_000, 5.0)]
)
def test_how_long_something_waits_is_not_known_where_nobody_has_read_it(delivered, waiting_since, seconds):
    desk, destination = Desk(settings.Settings(kafka="nowhere:1")), parse("a", {"target": "/tmp/a"})
    since = waiting_since and clock.now_ms() - waiting_since
    lanes = [LaneState("t", 0, 9, 9), LaneState("t", 1, delivered, 9, waiting_since=since)]
    desk._states["a/one"] = State(clock.now_ms(), "one", lanes, partitions=2)
    found = desk.summary("a", destination)
    assert found.lag_records == 9 - delivered
    assert found.lag_seconds == (seconds if seconds is None else pytest.approx(seconds, abs=1))


def test_kafka_that_is_away_is_said_to_be():
    with pytest.raises(Unavailable, match="does not answer"), following(settings.Settings(kafka="127.0.0.1:9")):
        pass


@pytest.mark.parametrize("host", ["hooks..example.com", "a" * 64 + ".example.com"])
def test_a_webhook_whose_host_can_be_none_is_refused(host):
    with pytest.raises(Refused, match="correct it"):
        post(Webhook(url=f"https://{host}/x"), b"{}")


class TestEpisodes:
    """Several processes see the same trouble; the topic decides what is begun and what is over."""

    def say(self, *episodes: Episode) -> Episode | None:
        desk = Desk(settings.Settings(kafka="nowhere:1"))
        for episode in episodes:
            desk._episode("episode/a", msgspec.json.encode(episode))
        return desk.episode("a")

    def test_the_first_to_begin_one_has_begun_it(self):
        assert self.say(Episode("1", ERRORS, "x", 5), Episode("2", ERRORS, "y", 6)).id == "1"

    def test_worse_begins_anew_and_better_does_not(self):
        assert self.say(Episode("1", ERRORS, "x", 5), Episode("2", REQUIRES_ATTENTION, "y", 6)).id == "2"
        assert self.say(Episode("1", REQUIRES_ATTENTION, "x", 5), Episode("2", ERRORS, "y", 6)).id == "1"

    def test_the_first_to_end_it_has_ended_it(self):
        ended = self.say(
            Episode("1", ERRORS, "x", 5), Episode("1", ERRORS, "x", 5, 9), Episode("1", ERRORS, "x", 5, 12)
        )
        assert ended.until == 9

    def test_what_was_told_is_known_and_the_end_is_to_be_told_again(self):
        told = Episode("1", ERRORS, "x", 5, told=True)
        assert self.say(Episode("1", ERRORS, "x", 5), told) == told
        assert self.say(told, Episode("1", ERRORS, "x", 5, 9)).told is False

    def test_what_is_refused_is_said_to_be_and_so_does_not_hide_what_stands_when_the_topic_is_compacted(self):
        desk = Desk(settings.Settings(kafka="nowhere:1"))
        first, second = (msgspec.json.encode(Episode(n, ERRORS, "x", 5)) for n in "12")
        assert [desk._episode("episode/a", said) for said in (first, second)] == [True, False]

    def test_an_end_may_be_all_that_is_left(self):
        ended = Episode("1", ERRORS, "x", 5, 9)
        assert self.say(ended) == ended

    def test_after_an_end_another_may_begin(self):
        assert (
            self.say(Episode("1", ERRORS, "x", 5), Episode("1", ERRORS, "x", 5, 9), Episode("2", ERRORS, "y", 20)).id
            == "2"
        )


def test_a_notice_has_the_vendors_fields():
    told = payload(
        "activity", Episode("1", ERRORS, "503 SlowDown", 5), ERRORS, "a", parse("a", {"target": "/x"}), "https://m"
    )
    assert {"type", "version", "timestamp", "tenant", "sync_type", "message", "manage_sync"} <= set(told)
    assert told["type"] == "EVENTS_SYNC_ERRORS"
    assert "503 SlowDown" in told["message"]
    assert signature(b"k", 7, b"{}").startswith("t=7,v1=")
