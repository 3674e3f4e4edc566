"""Tokens: any order of records, and a revoked one never comes back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.access.people import ADMIN, VIEWER
from exporters.access.tokens import COARSE_MS, DAY_MS, KEPT_MS, Tokens, Uses, make


def put(tokens, token):
    tokens.apply(f"token/{token.id}", msgspec.json.encode(token))


def test_only_the_whole_secret_opens_and_only_until_its_end():
    token, secret = make("nightly", VIEWER, days=2, by="a", now_ms=1000)
    tokens = Tokens()
    put(tokens, token)
    assert tokens.bearer(secret, 1000) == token
    assert tokens.bearer(secret, 1000 + 2 * DAY_MS - 1) == token
    assert tokens.bearer(secret, 1000 + 2 * DAY_MS) is None
    for wrong in ("", token.id, secret[:-1], secret + "x", secret.swapcase(), token.sha256, f"{token.id}_"):
        assert tokens.bearer(wrong, 1000) is None
    assert secret.rpartition("_")[2] not in msgspec.json.encode(token).decode()
    assert (token.person.name, token.person.role) == ("token:nightly", VIEWER)


TOKEN, SECRET = make("t", ADMIN, days=30, by="a", now_ms=0)
REVOKED = msgspec.structs.replace(TOKEN, revoked_at=5)
RECORDS = [
    ("token/" + TOKEN.id, msgspec.json.encode(TOKEN)),
    ("token/" + TOKEN.id, msgspec.json.encode(REVOKED)),
    ("token/" + TOKEN.id, b"{broken"),
    ("token/other", msgspec.json.encode(TOKEN)),
    ("used/" + TOKEN.id, b"77"),
    ("used/" + TOKEN.id, b"x"),
]


@given(st.lists(st.sampled_from(RECORDS), max_size=12))
def test_whatever_comes_after_a_revocation_changes_nothing(history):
    tokens, revoked, made = Tokens(), False, False
    for key, value in history:
        (tokens.apply_use if key.startswith("used/") else tokens.apply)(key, value)
        revoked |= value == RECORDS[1][1]
        made |= value == RECORDS[0][1] and key == RECORDS[0][0]
        assert (tokens.bearer(SECRET, 1) is not None) == (made and not revoked)


def test_what_is_over_for_long_is_forgotten():
    tokens = Tokens()
    put(tokens, REVOKED)
    assert tokens.stale(5 + KEPT_MS) == []
    assert tokens.stale(6 + KEPT_MS) == [REVOKED]
    tokens.apply(f"token/{TOKEN.id}", None)
    assert tokens.all() == []


@pytest.mark.parametrize("known", [False, True])
def test_last_use_is_written_once_an_hour(known):
    written, tokens, begin = [], Tokens(), 10 * COARSE_MS
    uses = Uses(tokens, lambda key, value: written.append((key, value)))
    if known:
        tokens.apply_use("used/a", str(begin).encode())
    for later in (0, 1000, COARSE_MS - 1, COARSE_MS, COARSE_MS + 1):
        uses.note("a", begin + later)
    uses.stop()
    uses.run()
    expected = [COARSE_MS] if known else [0, COARSE_MS]
    assert written == [("used/a", str(begin + later).encode()) for later in expected]


def test_a_use_that_cannot_be_written_is_not_the_last():
    written = []

    def write(key, value):
        if key == "used/a":
            raise ZeroDivisionError
        written.append(key)

    uses = Uses(Tokens(), write)
    uses.note("a", COARSE_MS)
    uses.note("b", COARSE_MS)
    uses.stop()
    uses.run()
    assert written == ["used/b"]
