"""Every event that goes out as OCSF is valid under the published schema, and says what the event said."""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from exporters import ocsf
from pipeline.model.dialects import authentication_document, decode_authentications, decode_connections
from pipeline.model.events import Rejected
from tests.streams import Stream

NOW = 1_900_000_000_000
SIGN_IN = {
    "version": 1,
    "id": "01JH",
    "time": "2026-01-15T14:30:00.000000+00:00",
    "action": {
        "type": "reauth",
        "result": "failure",
        "reason": "posture_mismatch",
        "user": {
            "email": "jane@example.com",
            "id": "890123",
            "policy": {"id": "p1", "name": "Default Policy"},
            "device": {"id": "d1", "name": "Jane's MacBook Pro"},
            "resource": {"id": "1234567", "name": "argocd"},
        },
        "client_ip": "::ffff:203.0.113.7",
        "idp": {"name": "okta", "issuer": "https://x", "error": None},
        "posture": {"failed": ["disk_encryption", "minimum_os"]},
        "mfa": {"method": "totp", "actor": {"email": "helpdesk@example.com", "id": "7"}},
    },
}


@cache
def validator(uid):
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    name = schema.lookup_class_name_from_uid(class_uid=uid)
    return jsonschema.Draft202012Validator(schema.get_class_schema(class_name=name, profiles=["host"]))


def sign_in(value, _event):
    return ocsf.authentication(authentication_document(value))


def told(value, decode, make):
    value = value if isinstance(value, bytes) else json.dumps(value).encode()
    event = decode([SimpleNamespace(value=value, timestamp=NOW)])[0]
    assert not isinstance(event, Rejected), event
    return make(value, event)


def test_a_sign_in_says_who_where_with_what_and_why_not():
    out = told(SIGN_IN, decode_authentications, sign_in)
    validator(3002).validate(out)
    assert (out["class_uid"], out["activity_id"], out["type_uid"], out["status_id"]) == (3002, 1, 300201, 2)
    assert (out["status_code"], out["status_detail"]) == ("posture_mismatch", "disk_encryption, minimum_os")
    assert out["user"]["uid"] == "890123"
    assert out["user"]["groups"] == [{"name": "Default Policy", "uid": "p1", "type": "policy"}]
    assert out["service"] == {"name": "argocd", "uid": "1234567"}
    assert out["src_endpoint"] == {"ip": "203.0.113.7"}
    assert out["auth_factors"] == [{"factor_type_id": 7, "factor_type": "OTP"}]
    assert out["actor"]["user"]["uid"] == "7"


def test_bytes_out_are_those_to_the_resource():
    log = {
        "event_type": "closed_connection",
        "timestamp": 1_774_605_600_000,
        "user": {"id": "1"},
        "connection": {"rx": 30, "tx": 7, "resource_ip": "10.0.0.5", "resource_port": 443, "protocol": "TCP"},
        "resource": {"address": "wiki", "id": "9"},
    }
    out = told(log, decode_connections, ocsf.network_activity)
    validator(4001).validate(out)
    assert out["traffic"] == {"bytes_in": 30, "bytes_out": 7, "bytes": 37}
    assert out["dst_endpoint"] == {"ip": "10.0.0.5", "name": "wiki", "uid": "9", "port": 443}
    assert (out["activity_name"], out["connection_info"]["protocol_name"]) == ("Close", "tcp")


@pytest.mark.parametrize(
    ("topic", "uid", "decode", "make"),
    [
        ("authentications", 3002, decode_authentications, sign_in),
        ("connections", 4001, decode_connections, ocsf.network_activity),
    ],
)
def test_whatever_is_an_event_is_valid_ocsf(topic, uid, decode, make):
    count = 0
    for line in Stream(5, start_ms=1_774_000_000_000).lines(3_000):
        if line.topic != topic or count >= 300:
            continue
        event = decode([SimpleNamespace(value=line.value, timestamp=NOW)])[0]
        if not isinstance(event, Rejected):
            out = json.loads(ocsf.dumps(make(line.value, event)))
            validator(uid).validate(out)
            assert out["time"] == event.time
            count += 1
    assert count > 100
