from types import SimpleNamespace

import pytest

from exporters.store import accounts


def record(key, value):
    return SimpleNamespace(key=key, value=value, partition=3, offset=7)


def test_an_account_is_a_row_under_its_key():
    value = b'{"id":"other","email":"Jane@Example.com","name":"J","state":"active","created":"2025-01-15","more":[1]}'
    assert accounts.row(record(b"1", value)) == ("1", "jane@example.com", "active", "2025-01-15", 7, 0)
    assert accounts.row(record(b"1", b"{}")) == ("1", "", "", "", 7, 0)
    assert accounts.row(record(b"1", b'{"email":null,"state":null}')) == ("1", "", "", "", 7, 0)


@pytest.mark.parametrize("nothing", [None, b""])
def test_a_tombstone_removes_it(nothing):
    assert accounts.row(record(b"1", nothing)) == ("1", "", "", "", 7, 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b'{"email":"x@x.example"}'),
        (b"", b'{"email":"x@x.example"}'),
        (b"\xff", b"{}"),
        (b"1", b"not json"),
        (b"1", b"[]"),
        (b"1", b'{"email":7}'),
        (b"1", b'{"email":"\xff"}'),
        (b"1", b'"text"'),
    ],
)
def test_what_is_no_account_is_passed_over(key, value):
    assert accounts.row(record(key, value)) is None
