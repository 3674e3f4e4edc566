"""Files of accounts: the three forms mean the same, and what is wrong is named in one line before anything is sent."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import ConfigError
from pipeline.intake.directory import parse

ANNA = {"id": "1", "email": "Anna@x.example", "name": "Anna, A.", "state": "active", "created": "2026-01-01"}
BERT = {"id": "2", "email": "bert@x.example", "name": "", "state": "suspended", "created": ""}
CSV = 'ID,E-Mail,Display Name,Status,Created At,Team\r\n1,Anna@x.example,"Anna, A.",,2026-01-01,x\r\n2,bert@x.example,,SUSPENDED,,\r\n'


@pytest.fixture
def parsed(tmp_path):
    def parsed(content: str | bytes):
        file = tmp_path / "users"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return parse(file)

    return parsed


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        "\ufeff" + CSV.replace("\r", ""),
        json.dumps([{**ANNA, "team": 5}, BERT], indent=1),
        json.dumps({**ANNA, "state": None}) + "\r\n\n" + json.dumps({"id": "2", "email": " bert@x.example ", "state": "Suspended"}),
    ],
)  # fmt: skip
def test_every_form_means_the_same_accounts(parsed, content):
    assert parsed(content) == {"1": ANNA, "2": BERT}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "there is no account in it"),
        ("\n \n", "there is no account in it"),
        ("[]", "there is no account in it"),
        ("id,email\n", "there is no account in it"),
        (b"id,email\n1,J\xfcrgen@x.example\n", "byte 12 is not UTF-8"),
        (b"\x1f\x8b\x08\x00", "byte 1 is not UTF-8"),
        ("user,mail address\n1,a@x.example\n", "no column id and no column email in its first line"),
        ("id;email\n1;a@x.example\n", "no column id and no column email in its first line"),
        ("id,name\n1,a\n", "no column email in its first line"),
        ("id,email\n1\n,b@x.example\n", "line 2: email is missing; line 3: id is missing"),
        ("id,email\n1,a@x.example,x\n", "line 2: more cells than columns"),
        ("id,email\n1,a@x.example\n1,b@x.example\n", "line 3: id '1' is there twice"),
        ("id,email,state\n1,a@x.example,gone\n", "line 2: state 'gone' is none of active, suspended, pending"),
        ('id,email\n1,"a@x.example\n', "line 2: unexpected end of data"),
        ("[{}", "not a JSON array (unexpected end"),
        ('[{"id":"1","email":"a@x.example"},7]', "entry 2: not a JSON object"),
        ('[{"id":1,"email":"a@x.example"}]', "entry 1: id is not text"),
        ('{"id":"1","email":"a@x.example"}\n{"id":\n', "line 2: not a JSON object"),
        ('{\n  "id": "1"\n}\n', "line 1: not a JSON object; line 2: not a JSON object"),
        ('{"users":[{"id":"1"}]}', "line 1: id is missing"),
        ("id,email\n" + "1\n" * 25, "line 11: email is missing (and 15 more)"),
    ],
)
def test_what_is_wrong_is_one_line(parsed, content, says):
    with pytest.raises(ConfigError) as refused:
        parsed(content)
    text = str(refused.value)
    assert says in text
    assert "\n" not in text
    assert text.endswith("; mend the file and import it again")
    assert "nothing was imported" in text
