"""Addresses and names."""

from __future__ import annotations

import pytest

from exporters.access.hosts import loopback, name_of, names, safe
from pipeline.settings import Settings


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"), ("LocalHost:80", "localhost"), ("127.0.0.1:8080", "127.0.0.1"), ("[::1]", "::1"), ("[::1]:80", "::1"),
        ("", ""), ("[::1", ""), ("localhost:x", ""), ("localhost:80:80", ""), ("[::1]x", ""), ("a@localhost", "a@localhost"),
    ],
)  # fmt: skip
def test_the_name_in_a_host_header(host, name):
    assert name_of(host) == name


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://a.example", True), ("http://localhost:1", True), ("http://127.0.0.9", True), ("http://[::1]:8", True),
        ("http://a.example", False), ("http://127.0.0.1.evil.example", False), ("ftp://localhost", False), ("", False), ("https://", False), ("https://[", False),
    ],
)  # fmt: skip
def test_what_nobody_reads_along(url, answer):
    assert safe(url) is answer


def test_the_names_a_service_answers_to():
    settings = Settings(public_url="https://Reports.Example.com/x", allowed_hosts=" a.example, [::2] ,")
    assert names(settings) == {"127.0.0.1", "localhost", "::1", "reports.example.com", "a.example", "::2"}
    assert not loopback("0.0.0.0")
    assert not loopback("")
