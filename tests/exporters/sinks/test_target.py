"""Targets: what may be said, and that no secret is ever part of one."""

import pytest
from pydantic import ValidationError

from exporters.sinks.target import TARGET, overlap

ROLE = "arn:aws:iam::123456789012:role/delivery"


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"kind": "directory", "path": "/srv/objects"}, "/srv/objects"),
        ({"kind": "s3", "bucket": "logs"}, "s3://logs"),
        ({"kind": "s3", "bucket": "logs", "prefix": "a/b"}, "s3://logs/a/b"),
        ({"kind": "s3", "bucket": "logs", "prefix": "/a/b/"}, "s3://logs/a/b"),
        ({"kind": "s3", "bucket": "logs", "credentials": {"kind": "keys", "file": "/run/keys.json"}}, "s3://logs"),
        (
            {"kind": "s3", "bucket": "logs", "credentials": {"kind": "role", "role_arn": ROLE, "external_id": "x-1"}},
            "s3://logs",
        ),
        (
            {
                "kind": "s3",
                "bucket": "logs",
                "credentials": {"kind": "web_identity", "role_arn": ROLE, "token_file": "/t"},
            },
            "s3://logs",
        ),
    ],
)
def test_a_target_survives_being_written_down(said, place):
    target = TARGET.validate_python(said)
    assert target.place == place
    assert TARGET.validate_json(TARGET.dump_json(target)) == target


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket": "Logs"},
        {"bucket": "a..b"},
        {"bucket": "1.2.3.4"},
        {"prefix": "a//b"},
        {"prefix": "a/../b"},
        {"endpoint": "ftp://x"},
        {"expected_owner": "12345"},
        {"encryption": "none"},
        {"kms_key": "alias/x"},
        {"credentials": {"kind": "keys"}},
        {"credentials": {"kind": "keys", "file": "/a", "environment": "ACTIVITY_A"}},
        {"credentials": {"kind": "keys", "environment": "HOME"}},
        {"credentials": {"kind": "keys", "key_id": "AKIA", "secret": "never here"}},
        {"credentials": {"kind": "role", "role_arn": ROLE}},
        {"credentials": {"kind": "role", "role_arn": "delivery", "external_id": "x-1"}},
    ],
)
def test_what_a_bucket_target_cannot_be(wrong):
    with pytest.raises(ValidationError):
        TARGET.validate_python({"kind": "s3", "bucket": "logs", **wrong})


@pytest.mark.parametrize("path", ["out", "~/out", "s3:/logs/a", ""])
def test_a_directory_is_a_whole_path(path):
    with pytest.raises(ValidationError, match="from its root"):
        TARGET.validate_python({"kind": "directory", "path": path})


STORE = {"kind": "s3", "bucket": "logs", "endpoint": "https://store.example.com"}


@pytest.mark.parametrize(
    ("one", "other", "overlaps"),
    [
        ({"kind": "directory", "path": "/a/../b"}, {"kind": "directory", "path": "/b"}, True),
        ({"kind": "directory", "path": "/b/c"}, {"kind": "directory", "path": "/b"}, True),
        ({"kind": "directory", "path": "/bc"}, {"kind": "directory", "path": "/b"}, False),
        ({"kind": "s3", "bucket": "logs"}, {"kind": "s3", "bucket": "logs", "prefix": "a"}, True),
        ({"kind": "s3", "bucket": "logs", "prefix": "ab"}, {"kind": "s3", "bucket": "logs", "prefix": "a"}, False),
        ({"kind": "s3", "bucket": "logs2"}, {"kind": "s3", "bucket": "logs"}, False),
        (STORE, {"kind": "s3", "bucket": "logs"}, False),
        (STORE, STORE | {"endpoint": "https://Store.example.com/", "prefix": "a"}, True),
        ({"kind": "directory", "path": "/logs"}, {"kind": "s3", "bucket": "logs"}, False),
    ],
)
def test_places_overlap_if_one_lies_within_the_other(one, other, overlaps):
    targets = TARGET.validate_python(one), TARGET.validate_python(other)
    assert overlap(*targets) == overlap(*reversed(targets)) == overlaps
