"""Each kind of report in each of its formats, and no other."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from exporters.reports.ask import Ask, parameters_of
from exporters.reports.build import build
from exporters.store.store import Store
from exporters.web.api_schedules import Plan
from pipeline.model.dialects import authentication_document
from tests.exporters.store.rows import START, sign_ins
from tests.exporters.test_ocsf import SIGN_IN, validator

pytestmark = pytest.mark.xdist_group("store")
WINDOW = {"from": "2026-03-01", "to": "2026-03-02"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = Store.open(f"chdb://{tmp_path_factory.mktemp('formats') / 'store'}", memory_bytes=500_000_000)
    document = authentication_document(json.dumps(SIGN_IN).encode())
    opened.insert(
        "sign_ins",
        sign_ins(*({"time_ms": START * 1000 + n, "offset": n, "document": json.dumps(document)} for n in range(3))),
    )
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("form", "suffix", "read"),
    [
        (None, "ndjson", lambda text: [json.loads(x) for x in text.splitlines()]),
        ("ndjson", "ndjson", lambda text: [json.loads(x) for x in text.splitlines()]),
        ("json", "json", json.loads),
        ("ocsf", "ocsf.ndjson", lambda text: [json.loads(x) for x in text.splitlines()]),
    ],
)
def test_sign_ins_are_given_as_lines_as_an_array_or_as_ocsf(store, tmp_path, form, suffix, read):
    ask = Ask.model_validate({"kind": "authentication", "format": form, **WINDOW})
    parameters = parameters_of(ask, now_ms=START * 1000, inactive_days=90, device_days=30)
    built = build(store, "authentication", parameters, asked_at_ms=START * 1000, path=tmp_path / "file")
    assert built.file_name == f"authentication-events_2026-03-01_2026-03-01.{suffix}"
    found = read((tmp_path / "file").read_text())
    assert len(found) == built.written.rows == 3
    for event in found:
        if form == "ocsf":
            validator(3002).validate(event)
            assert event["class_uid"] == 3002
        else:
            assert event == authentication_document(json.dumps(SIGN_IN).encode())


@pytest.mark.parametrize(
    ("kind", "form"),
    [("active", "json"), ("active", "ndjson"), ("active", "ocsf"), ("inactive", "json"), ("authentication", "csv")],
)
def test_a_format_of_another_kind_is_refused_and_not_replaced(kind, form):
    with pytest.raises(ValidationError, match=f"{form} is no format of the {kind} report"):
        Ask.model_validate({"kind": kind, "format": form, **WINDOW})
    with pytest.raises(ValidationError, match=f"{form} is no format of the {kind} report"):
        Plan.model_validate({"name": "x", "every": "daily", "kind": kind, "format": form})
