"""What the store promises, in each of its forms."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from msgspec.structs import astuple

from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND, Parameters, build
from exporters.reports.people import People
from exporters.store import retention
from exporters.store.store import QUERIES, Store
from pipeline.errors import ConfigError, RequestError
from tests.exporters.store.conftest import MEMORY
from tests.exporters.store.rows import START, accounts, connections, positions, sign_ins

pytestmark = pytest.mark.xdist_group("store")

AT = datetime.fromtimestamp(START, UTC)
MARCH = (START * 1000, (START + 31 * 86_400) * 1000)
DECADES = tuple(int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 for year in (1980, 2030))
# A value for each type that a query may bind, and for one name.
VALUES = {
    "String": "x", "Int64": 0, "UInt32": 202601, "UInt64": 1, "DateTime('UTC')": AT, "Date": AT.date(), "Array(String)": ["x"], "Array(Date)": [AT.date()],
    "Array(DateTime('UTC'))": [AT], "Array(Array(Date))": [[AT.date()]], "Bool": True,
    "Array(Tuple(String, String))": [("x", "y")], "Identifier": "connections", "gathered": "active_people",
}  # fmt: skip
NASTY = ("plain", "o'brien", 'say "hi"', "back\\slash\\", "tab\tnew\nline\r", "nul\0inside", "Jürgen Straße", "日本語", "🙂", "{who:String}", "%s", "'; DROP TABLE sign_ins; --", "\\'", "\\N", "null")  # fmt: skip


def everything(store, **more):
    """The rows of the Active Users report over March 2026."""
    return [*map(astuple, People(store).active(**{"window": MARCH, "devices": MARCH, **more}))]


def totals(store):
    return [(row[0], row[2]) for row in everything(store)]


def without_merges(store):
    store._client().command("SYSTEM STOP MERGES connections")


def merged(store):
    store._client().command("SYSTEM START MERGES connections")
    store._client().command("OPTIMIZE TABLE connections FINAL")


@pytest.mark.parametrize("name", sorted(p.stem for p in QUERIES.glob("*.sql") if p.stem != "schema"))
def test_each_query_runs_on_empty_tables(store, name):
    text = store._queries[name]
    assert ";" not in re.sub(r"--.*", "", text), "one statement each: the embedded engine runs all of them"
    parameters = {
        parameter: VALUES.get(parameter, VALUES[type_])
        for parameter, type_ in re.findall(r"\{(\w+):((?:[^{}])+)\}", text)
    }
    first = re.sub(r"--.*", "", text).split()[0].upper()
    if first in ("SELECT", "WITH"):
        rows = list(store.rows(name, **parameters))
        assert rows in ([], [(0,)]) or rows[0][0] in (0, ""), "nothing in, nothing out"
    else:
        store.run(name, **parameters)


def test_opening_again_keeps_what_is_inside(store, opened):
    store.insert("connections", connections({"id": "1", "success": 3}))
    assert totals(opened.again()) == [("1", 3)]


def test_a_batch_inserted_again_changes_nothing(store):
    batch = connections(*({"id": str(n % 7), "first": n, "version": 100 + n, "success": n, "client_ips": [("10.0.0.1", n)]} for n in range(50)))  # fmt: skip
    signed = sign_ins(*({"offset": n, "document": f'{{"n":{n}}}'} for n in range(5)))
    store.insert("connections", batch)
    store.insert("sign_ins", signed)
    before = everything(store)
    for _ in range(3):
        store.insert("connections", batch)
        store.insert("sign_ins", signed)
        store.insert("connections", batch.slice(10, 20))
    assert everything(store) == before
    assert sum(row[2] for row in before) == sum(range(50))
    asked = {"a": 0, "b": 2**62, "who": "", "folded": "", "type": "", "result": "", "reason": ""}
    assert len(list(store.rows("authentication", **asked))) == 5


def test_of_many_unmerged_revisions_the_newest_counts_in_whatever_order_they_come(store):
    without_merges(store)
    rng = random.Random(5)
    expected = {}
    batches = [[] for _ in range(12)]
    for key in range(40):
        for version in range(1, 8):
            count = rng.randrange(1, 1000)
            row = {"id": f"{key:02}", "first": key, "version": version, "success": count, "client_ips": [("10.0.0.1", count)], "devices": [f"d{version}"]}  # fmt: skip
            rng.choice(batches).append(row)
            expected[f"{key:02}"] = count
    for batch in batches:
        store.insert("connections", connections(*batch))
    assert totals(store) == sorted(expected.items())
    assert [row[9] for row in everything(store)] == [1] * 40
    merged(store)
    assert totals(store) == sorted(expected.items())


def test_a_healed_key_stays_empty_and_an_older_delivery_stays_dead(store):
    without_merges(store)
    row = {"id": "1", "success": 5, "version": 10}
    store.insert("connections", connections(row, {"id": "2", "success": 1, "version": 11}))
    store.insert("connections", connections({"id": "1", "version": 20, "deleted": 1}))
    assert totals(store) == [("2", 1)]
    store.insert("connections", connections(row))
    assert totals(store) == [("2", 1)]
    merged(store)
    store.insert("connections", connections(row))
    assert totals(store) == [("2", 1)]
    merged(store)
    assert totals(store) == [("2", 1)]
    store.insert("connections", connections({"id": "1", "success": 7, "version": 21}))
    assert totals(store) == [("1", 7), ("2", 1)]


def test_one_person_is_added_up_over_ids_and_partitions_and_only_while_the_directory_says_so(store):
    store.insert(
        "connections",
        connections(
            {"id": "1", "email": "old@x.example", "part": 1, "success": 1, "client_ips": [("a", 2), ("b", 2)], "devices": ["d1", "d2"], "last_access": 5},
            {"id": "1", "email": "new@x.example", "part": 2, "success": 2, "client_ips": [("b", 1)], "devices": ["d2"], "last_access": 9},
            {"id": "2", "email": "new@x.example", "success": 4, "client_ips": [("c", 4)], "devices": ["d3"]},
            {"kind": "service_account", "id": "s", "success": 100},
        ),
    )  # fmt: skip
    assert totals(store) == [("new@x.example", 6), ("old@x.example", 1)]
    store.insert("accounts", accounts({"id": "1", "email": "new@x.example", "version": 1}))
    [row] = everything(store)
    assert row[:3] == ("new@x.example", 9, 7)
    assert row[9:] == (3, 3, "c b a")
    store.insert("accounts", accounts({"id": "1", "version": 2, "deleted": 1}))
    assert totals(store) == [("new@x.example", 6), ("old@x.example", 1)]
    store.insert("accounts", accounts({"id": "1", "email": "new@x.example", "version": 1}))
    assert totals(store) == [("new@x.example", 6), ("old@x.example", 1)]


def test_devices_are_counted_in_their_own_window(store):
    store.insert(
        "connections",
        connections(
            {"id": "1", "success": 1, "devices": ["inside"], "client_ips": [("a", 1)]},
            {"id": "1", "success": 5, "devices": ["later", "later too"], "bucket": START + 40 * 86_400, "client_ips": [("b", 5)]},
            {"id": "2", "success": 1, "devices": ["only later"], "bucket": START + 40 * 86_400},
        ),
    )  # fmt: skip
    [row] = everything(store, devices=((START + 35 * 86_400) * 1000, (START + 50 * 86_400) * 1000))
    assert (row[0], row[2], row[9:]) == ("1", 1, (2, 1, "a"))


def test_sums_go_beyond_64_bits(store):
    most = 2**63 - 1
    rows = [{"id": "1", "first": n, "success": 1, "bytes_transferred": 3 * most, "bytes_received": most} for n in range(5)]  # fmt: skip
    store.insert("connections", connections(*rows))
    [row] = everything(store)
    assert row[5:7] == (15 * most, 5 * most)


def test_the_top_ten_are_the_most_frequent_and_ties_go_by_text(store):
    counts = [(f"10.0.0.{n}", 1 + n % 3) for n in range(30)]
    store.insert("connections", connections({"id": "1", "success": 1, "client_ips": counts[:20]}, {"id": "1", "first": 1, "client_ips": counts[20:]}))  # fmt: skip
    [row] = everything(store)
    assert row[10] == 30
    assert row[11] == " ".join([a for a, _ in sorted(counts, key=lambda c: (-c[1], c[0]))][:10])


def test_positions_come_back_as_they_were_and_the_furthest_counts(store):
    far = {"topic": "activity.x", "part": 999, "topic_id": "a-B_9", "next": 2**63, "epoch": 2**62, "ledger": 2**62 + 1, "lost": 7}  # fmt: skip
    store.insert("positions", positions(far, {"part": 1}))
    store.insert("positions", positions({**far, "next": 5, "epoch": 1, "ledger": 3}, {"part": 1, "next": 2, "ledger": 1}))  # fmt: skip
    assert sorted(store.rows("positions")) == [tuple(far.values()), ("t", 1, "", 2, -1, 1, 0)]


def test_one_insert_may_touch_more_months_than_the_engine_takes_at_once(store):
    months = range(1985 * 12, 1995 * 12)
    at = [int(datetime(m // 12, m % 12 + 1, 15, tzinfo=UTC).timestamp()) for m in months]
    store.insert("connections", connections(*({"id": "1", "bucket": t, "success": 1} for t in at)))
    store.insert("sign_ins", sign_ins(*({"time_ms": t * 1000, "offset": n} for n, t in enumerate(at))))
    [row] = everything(store, window=DECADES)
    assert row[2] == len(months) == 120
    asked = {"a": 0, "b": 2**62, "who": "", "folded": "", "type": "", "result": "", "reason": ""}
    assert len(list(store.rows("authentication", **asked))) == 120


@pytest.mark.parametrize("text", NASTY)
def test_what_people_write_is_a_value_and_never_sql(store, text):
    named = {"id": text, "email": text, "event_id": text, "document": json.dumps({"who": text})}
    store.insert("sign_ins", sign_ins({"id": "other", "offset": 1}, {**named, "offset": 2}))
    asked = {"a": 0, "b": 2**62, "who": text, "folded": text, "type": "", "result": "", "reason": ""}
    assert [json.loads(document) for (document,) in store.rows("authentication", **asked)] == [{"who": text}]
    assert list(store.rows("authentication", **{**asked, "reason": text})) == []
    store.insert("connections", connections({"id": text, "success": 1, "client_ips": [(text, 1)], "devices": [text]}))
    [row] = everything(store)
    assert (row[0], row[11]) == (text, text)
    assert list(store.rows("sign_ins_count", **{**asked, "who": "", "folded": "", "types": []})) == [(2,)]


def test_an_answer_that_nobody_reads_to_its_end_blocks_nothing(store):
    store.insert("connections", connections(*({"id": str(n), "success": 1} for n in range(30_000))))
    rows = store.rows("signed_in")
    rows.close()
    answer = People(store).active(MARCH, MARCH)
    assert next(answer).success == 1
    answer.close()
    assert len(everything(store)) == 30_000


def test_threads_ask_and_insert_at_the_same_time(store):
    failed = []

    def work(number):
        try:
            for turn in range(5):
                store.insert("connections", connections({"id": str(number), "first": turn, "success": 1}))
                assert dict(totals(store))[str(number)] == turn + 1
            store._client().close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert totals(store) == [(str(n), 5) for n in range(4)]


def test_old_months_are_dropped_whole_and_the_kept_ones_stay(store):
    at = [int(datetime(2025, 10 + n, 31 if n != 1 else 30, 23, 45, tzinfo=UTC).timestamp()) for n in range(3)]
    at.append(int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()))
    store.insert("connections", connections(*({"id": "1", "bucket": t, "success": 1} for t in at)))
    store.insert("sign_ins", sign_ins(*({"time_ms": t * 1000, "offset": n} for n, t in enumerate(at))))
    now = int(datetime(2026, 1, 20, tzinfo=UTC).timestamp()) * 1000
    assert retention.drop(store, now_ms=now, months=0) == 0
    assert retention.drop(store, now_ms=now, months=2) == 3  # of connections, and of sign-ins in both orders
    [row] = everything(store, window=DECADES)
    assert row[2] == 3
    assert retention.drop(store, now_ms=now, months=2) == 0
    store.insert("connections", connections({"id": "1", "bucket": at[0], "success": 1}))  # a late event
    assert retention.drop(store, now_ms=now, months=2) == 1
    asked = {"a": 0, "b": 2**62, "who": "", "folded": "", "type": "", "result": "", "reason": ""}
    assert len(list(store.rows("authentication", **asked))) == 3


def test_each_kind_of_report_is_built_from_an_empty_store(store, tmp_path):
    ask = Parameters(from_ms=START * 1000, to_ms=START * 1000 + 86_400_000, as_of_ms=START * 1000, days=90)
    for kind, rows in ((ACTIVE_KIND, 0), (INACTIVE_KIND, 0), (AUTHENTICATION_KIND, 0)):
        built = build(store, kind, ask, asked_at_ms=START * 1000, path=tmp_path / kind)
        assert built.written.rows == rows


def test_a_question_that_takes_too_much_memory_says_so_and_what_to_do(store, url):
    people = [{"id": str(n), "success": 1, "client_ips": [(f"10.0.{n % 256}.{n % 7}", 1)]} for n in range(30_000)]
    store.insert("connections", connections(*people))
    small = Store(url, memory_bytes=2_000_000)
    window = {"a": datetime.fromtimestamp(START, UTC), "b": datetime.fromtimestamp(START + 900, UTC)}
    with pytest.raises(RequestError, match="ACTIVITY_STORE_MEMORY_BYTES=2000000") as caught:
        list(People(small).active(MARCH, MARCH))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(RequestError, match="ask for less"):
        small.run("settle", service="x", days=[window["a"].date()], **window)
    small.close()


OPEN = """
import sys
from exporters.store.store import Store
from pipeline.errors import Problem
try:
    Store.open(sys.argv[1], memory_bytes=500_000_000)
except Problem as problem:
    sys.exit(f"{problem.exit_code} {problem}")
"""


def opened_elsewhere(url):
    return subprocess.run([sys.executable, "-c", OPEN, url], capture_output=True, text=True, check=False)


def test_a_second_process_shares_a_server_and_is_refused_an_embedded_store(store, url):
    done = opened_elsewhere(url)
    if url.startswith("http"):
        assert done.returncode == 0, done.stderr
        return
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("2 the report store ")
    assert "is in use by another process" in done.stderr
    assert "ACTIVITY_STORE=http://" in done.stderr


def test_a_server_that_is_away_or_a_word_that_is_no_url_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="start that server"):
        Store.open("http://127.0.0.1:9/activity", memory_bytes=MEMORY)
    with pytest.raises(ConfigError, match="give chdb:///path or http"):
        Store.open("postgres://x", memory_bytes=MEMORY)
    with pytest.raises(ConfigError, match=r"cannot contain \? or #"):
        Store.open(f"chdb://{tmp_path / 'a#b'}", memory_bytes=MEMORY)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Store.open(f"chdb://{tmp_path / 'file' / 'store'}", memory_bytes=MEMORY)
