"""Which bytes of a file or a stream are sent, which are not, and to which topic under which key."""

from __future__ import annotations

import csv
import gzip
import io
import json

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.intake.lines import BLANK, BOM, CHATTER, MAX_RECORD_BYTES, TOO_LONG, addressed, lines, of_line
from pipeline.intake.sources import GZIP_MAGIC, ZSTD_MAGIC, unpacked
from pipeline.model.dialects import decode_connection
from pipeline.model.events import Rejected
from pipeline.model.identity import digest
from pipeline.topics import AUTHENTICATIONS, CONNECTIONS

HEAD = b"start_time,end_time,user,client_ip,status,bytes_received\n"
ROW = b"2026-03-27 10:00:00.0 UTC,2026-03-27 10:00:01.5 UTC,a@x.example,192.0.2.1,NORMAL,5\n"
NOW = 1_774_700_000_000


class Dribble(io.RawIOBase):
    """A source that gives a few bytes at a time, as a pipe does."""

    def __init__(self, content: bytes, step: int) -> None:
        self.rest, self.step = content, step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        size = min(self.step, len(buffer))
        piece, self.rest = self.rest[:size], self.rest[size:]
        buffer[: len(piece)] = piece
        return len(piece)


def all_of(content: bytes, step: int = 1 << 20):
    return list(lines(unpacked(Dribble(content, step), "test")))


def sent(content: bytes, step: int = 1 << 20) -> list[bytes]:
    return [line.value for line in all_of(content, step) if not line.skipped]


def skipped(content: bytes) -> list[tuple[int, str]]:
    return [(line.number, line.skipped) for line in all_of(content) if line.skipped]


def reason(value: bytes) -> str:
    with pytest.raises(Rejected) as refused:
        decode_connection(value, NOW)
    return refused.value.reason.value


def test_a_connectors_log_is_its_events_and_its_chatter():
    log = b'2026-03-27 starting\nANALYTICS {"a":1}\n10:00 [info] ANALYTICS {"b":2}\r\n\n  {"c":3}\nANALYTICS\n[10:00] up\n'
    assert sent(log) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    assert skipped(log) == [(1, CHATTER), (4, BLANK), (6, CHATTER), (7, CHATTER)]


def test_broken_json_is_sent_whole_for_the_worker_to_refuse():
    assert sent(b'{"a":\n{"b" ANALYTICS {"c":1}\n{"d":1} x') == [b'{"a":', b'{"b" ANALYTICS {"c":1}', b'{"d":1} x']


def test_crlf_and_a_missing_last_line_end_change_nothing():
    assert sent(b'{"a":1}\r\n{"b":"\\r"}\r\n{"c":3}') == [b'{"a":1}', b'{"b":"\\r"}', b'{"c":3}']


@pytest.mark.parametrize("content", [b'{"a":1}\n', b'[{"a":1}]', HEAD + ROW, b'ANALYTICS {"a":1}'])
def test_a_byte_order_mark_is_no_content(content):
    assert sent(BOM + content) == sent(content) != []


def test_a_byte_order_mark_inside_joined_files_is_no_content_either():
    assert sent(b'{"a":1}\n' + BOM + b'{"b":1}\n') == [b'{"a":1}', b'{"b":1}']


@pytest.mark.parametrize("content", [b'chatter\n{"a":1}\n', b'[{"a":1}]', HEAD + ROW])
def test_a_packed_file_is_what_is_in_it(content):
    assert sent(gzip.compress(content)) == sent(content) != []


def test_a_value_of_one_mib_is_sent_and_a_longer_one_is_not():
    fits = b'{"x":"%b"}' % (b"y" * (MAX_RECORD_BYTES - 8))
    longer = b'{"x":"%b"}' % (b"y" * (MAX_RECORD_BYTES - 7))
    huge = b'{"x":"%b"}' % (b"z" * 5_000_000)
    assert sent(b"ANALYTICS " + fits + b"\r\n" + fits) == [fits, fits]
    assert all_of(b"\n".join([longer, b"ANALYTICS " + longer, huge, b'{"a":1}'])) == [
        (1, b"", TOO_LONG), (2, b"", TOO_LONG), (3, b"", TOO_LONG), (4, b'{"a":1}', ""),
    ]  # fmt: skip
    assert sent(b"[%b,%b,%b]" % (fits, longer, huge)) == [fits]
    assert [n for n, why in skipped(b"[%b,%b,%b]" % (fits, longer, huge)) if why == TOO_LONG] == [2, 3]
    assert of_line(7, fits) == (7, fits, "")


def test_elements_of_an_array_are_sent_as_their_bytes_are():
    array = b'\n [ {"a" : NaN,"a":2},\n\t{"b":"]},{\\"\\\\"} , [{"c":1}],5 , "x,y" ]\n'
    assert sent(array) == [b'{"a" : NaN,"a":2}', b'{"b":"]},{\\"\\\\"}', b'[{"c":1}]', b"5", b'"x,y"']
    assert sent(b"[]") == sent(b" [ ] \n") == []
    assert sent(json.dumps([{"a": 1}, {"b": [1, {}]}], indent=2).encode()) == [b'{\n    "a": 1\n  }', b'{\n    "b": [\n      1,\n      {}\n    ]\n  }']  # fmt: skip


def test_an_array_that_breaks_off_loses_nothing():
    assert sent(b'[{"a":1},{"b":"') == [b'{"a":1}', b'{"b":"']
    assert sent(b'[{"a":1},') == [b'{"a":1}']
    assert sent(b'[{"a":1},{"b":1,{"c":1}]') == [b'{"a":1}', b'{"b":1,{"c":1}]']


def test_arrays_one_after_the_other_and_lines_behind_them():
    assert sent(b'[{"a":1}]\n[{"b":1},{"c":1}]\n{"d":1}\nchatter\n') == [b'{"a":1}', b'{"b":1}', b'{"c":1}', b'{"d":1}']
    assert skipped(b'[{"a":1}]\nchatter\n') == [(2, CHATTER)]


texts = st.text(max_size=4) | st.sampled_from(['"', "\\", '\\"', "],{", "[{"])
documents = st.recursive(
    st.none() | st.integers(0, 9) | texts,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(texts, x, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(st.dictionaries(texts, documents, min_size=1, max_size=2), min_size=1, max_size=3),
    st.sampled_from([None, 1]),
    st.integers(1, 9),
    st.booleans(),
)
def test_an_array_is_its_elements_however_it_arrives(elements, indent, step, ascii_only):
    array = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    # What a pipe gives first must show that it is an array.
    got = [line.value for line in lines(io.BufferedReader(Dribble(array, max(step, 5)), 5 + step))]
    assert [json.loads(value.decode("utf-8", "surrogatepass")) for value in got] == elements


def test_rows_become_objects_of_the_files_own_columns():
    (value,) = sent(b'"Start_Time", end_time ,user,status,note\r\n1,,"a ""b"", c",NORMAL,"x\r\ny"\r\n')
    assert json.loads(value) == {
        "start_time": "1", "end_time": "", "user": 'a "b", c', "status": "NORMAL", "note": "x\r\ny",
    }  # fmt: skip
    assert decode_connection(*sent(HEAD + ROW), NOW).bytes_received == 5


def test_a_cell_that_is_not_utf_8_reaches_the_worker_as_it_is():
    bad, good = sent(HEAD + ROW.replace(b"a@", b'"J\xfc""r\\g@', 1).replace(b"example", b'example"') + ROW)
    assert b'"J\xfc\\"r\\\\g@x.example"' in bad
    assert reason(bad) == "not_utf8"
    assert decode_connection(good, NOW)


@pytest.mark.parametrize("row", [b"2026-03-27 10:00:00.0 UTC,2026-03-27 10:00:01.5 UTC,a@x.example,192.0.2.1,NORMAL\n", ROW[:-1] + b",\n", b"x\n"])  # fmt: skip
def test_a_row_that_does_not_fit_the_header_is_refused_and_not_guessed_at(row):
    odd, good = sent(HEAD + row + ROW)
    assert json.loads(odd) == row.decode().strip("\n").split(",")
    assert reason(odd) == "unknown_type"
    assert decode_connection(good, NOW)


def test_a_quote_that_is_never_closed_costs_one_cell_and_not_the_file():
    content = HEAD + b'2026-03-27 10:00:00.0 UTC,"' + b"x" * 200_000 + b"\n" + ROW * 50_000
    got = all_of(content)
    assert got[0].skipped == TOO_LONG
    assert len(got) > 30_000
    assert decode_connection(got[-1].value, NOW)


def test_a_very_long_row_is_skipped_and_said():
    assert skipped(HEAD + ROW + b"a,b,c,d,NORMAL," + b"5" * 3_000_000 + b"\n" + ROW) == [(3, TOO_LONG)]
    assert skipped(HEAD + ROW + b"a,b,c,d,NORMAL,5" + b",x" * 1_000_000 + b"\n" + ROW) == [(3, TOO_LONG)]
    unclosed_when_cut = b"a," + b"x" * 600_000 + b',"' + b"y" * 900_000 + b'",d,NORMAL,5\n'
    assert sent(HEAD + unclosed_when_cut + ROW * 3) == sent(HEAD + ROW * 3)
    assert csv.field_size_limit() == MAX_RECORD_BYTES


@pytest.mark.parametrize("step", [1, 2, 3, 5, 30, 1000])
@pytest.mark.parametrize(
    "content",
    [
        HEAD + ROW,
        BOM + HEAD + ROW,
        b'[{"a":1},{"b":2}]',
        BOM + b'\n[\n  {"a":1},\n  {"b":2}\n]',
        b"[]",
        b'[10:00:00] started\n{"a":1}\n',
        b'chatter\n{"a":1}\n',
        b'\n\n{"a":1}\n',
        b"",
        b"{",
        b"\xef\xbbx\n",
        gzip.compress(b'[{"a":1},{"b":2}]', mtime=0),
        zstandard.compress(HEAD + ROW),
    ],
    ids=lambda c: c[:20].hex(),
)
def test_a_form_is_seen_although_bytes_come_slowly(step, content):
    assert sent(content, step) == sent(content)


USER = {"id": "u1", "email": "A@x.example"}


@pytest.mark.parametrize(
    ("document", "topic", "key"),
    [
        ({"event_type": "closed_connection", "user": USER}, CONNECTIONS, b"u1"),
        ({"event_type": "closed_connection", "user": {"email": "A@x.example"}}, CONNECTIONS, b"A@x.example"),
        ({"event_type": "closed_connection", "user": {"id": 5}}, CONNECTIONS, None),
        ({"event_type": "network_access", "event": {"user": USER}}, CONNECTIONS, b"u1"),
        ({"time": "x", "status": "y", "service_account": {"id": "s1"}}, CONNECTIONS, b"s1"),
        ({"start_time": "x", "status": "NORMAL", "user": "a@x.example", "user_id": "7"}, CONNECTIONS, b"7"),
        ({"start_time": "x", "status": "NORMAL", "user": "a@x.example", "user_id": ""}, CONNECTIONS, b"a@x.example"),
        ({"start_time": "x", "status": "NORMAL", "user": "", "service_account_id": "s2"}, CONNECTIONS, b"s2"),
        ({"time": "x", "action": {"type": "reauth", "user": USER}}, AUTHENTICATIONS, b"u1"),
        ({"event_type": "authentication", "event": {"action": {"user": USER}}}, AUTHENTICATIONS, b"u1"),
        ({"event_type": "closed_connection", "action": {"user": USER}, "user": USER}, CONNECTIONS, b"u1"),
        ({"connection": {"error_message": '"action"'}}, CONNECTIONS, None),
    ],
)
def test_a_value_is_addressed_by_its_form_and_its_user(document, topic, key):
    value = msgspec.json.encode(document)
    assert addressed(value) == (topic, key if key is not None else digest(b"bytes", value))


@pytest.mark.parametrize("value", [b"{", b'{"user":{"id":"\xff"}}', b'{"action"', b"[" * 10_000, b'["action"]', b"5"])
def test_what_cannot_be_read_is_keyed_by_its_bytes_so_that_copies_meet(value):
    assert addressed(value) == (CONNECTIONS, digest(b"bytes", value))


@given(st.binary(max_size=300).filter(lambda content: not content.startswith((GZIP_MAGIC, ZSTD_MAGIC))))
def test_no_bytes_stop_it_and_every_line_has_one_fate(content):
    for line in all_of(content, 7):
        assert bool(line.value) != bool(line.skipped)
        addressed(line.value)
