"""The mails themselves: every folder renders, and none says what a mail must not say."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import SMTP, default

import pytest

from exporters.mail.mailer import MAILS, TEMPLATES, Mailer
from exporters.mail.sender import MemorySender
from pipeline.settings import Settings

SAID = {
    "title": "Active users",
    "schedule": "Weekly <b>for Jane</b>",
    "window": [
        ("Asia/Kathmandu", "2026-03-01 05:45 to 2026-03-02 05:45"),
        ("UTC", "2026-03-01 00:00 to 2026-03-02 00:00"),
    ],
    "rows": "1 234",
    "size": "1.2 MB",
    "file": "active-users_2026-03-01_2026-03-02.csv.gz",
    "complete_through": "2026-03-03 10:00 UTC",
    "notes": ["NOT COMPLETE: <3> records"],
    "link": "https://reports.example.com/settings/reports/runs/abc",
    "kept_until": "2026-03-10 10:00 UTC",
    "reason": "the store <was> away",
    "notice": "EVENTS_SYNC_ERRORS",
    "destination": "s3://bucket/prefix",
    "source": "connector passionate-wallaby",
    "lines": ["First line.", "Second <line>."],
}
TO = ["jane@x.example", "joe@x.example"]


def mailer(**more):
    return Mailer(Settings(mail_from="User Activity <activity@corp.example>", **more), MemorySender())


def rendered(name, **more):
    made = mailer().message(name, TO, {k: SAID[k] for k in MAILS[name]} | more, f"run-abc-{name}")
    return message_from_bytes(made.as_bytes(policy=SMTP), policy=default)


@pytest.mark.parametrize("name", sorted(MAILS))
def test_a_mail_is_text_and_html_with_one_link_and_no_attachment(name):
    message = rendered(name)
    parts = [p.get_content_type() for p in message.walk()]
    assert parts == ["multipart/alternative", "text/plain", "text/html"]
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<run-abc-{name}@corp.example>"
    assert "\n" not in message["Subject"]
    text, html = (message.get_body([form]).get_content() for form in ("plain", "html"))
    assert SAID["link"] in text
    assert f'href="{SAID["link"]}"' in html
    assert "<line>" not in html
    assert "<b>" not in html
    assert "<was>" not in html


@pytest.mark.parametrize("name", ["ready", "schedule"])
def test_a_report_is_described_in_both_zones_by_its_size_and_not_by_its_rows(name):
    message = rendered(name)
    for form in ("plain", "html"):
        text = message.get_body([form]).get_content()
        for said in ("05:45", "Asia/Kathmandu", "UTC", "1 234", "1.2 MB", SAID["file"], "2026-03-10 10:00 UTC"):
            assert said in text


def test_the_folders_and_the_table_name_the_same_mails():
    assert sorted(p.name for p in TEMPLATES.iterdir() if p.is_dir()) == sorted(MAILS)


def test_a_subject_stays_one_line_whatever_is_in_it():
    message = rendered("schedule", schedule="Weekly\r\nBcc: everybody@x.example")
    assert message["Bcc"] is None
    assert "Bcc: everybody@x.example" in message["Subject"]


def test_the_same_mail_has_the_same_id_and_another_one_another():
    ids = {rendered(n)["Message-ID"] for n in MAILS for _ in range(2)}
    assert len(ids) == len(MAILS)


def test_a_mail_that_is_not_told_everything_is_a_bug():
    with pytest.raises(AssertionError, match="link"):
        mailer().message("sync", TO, {"notice": "x", "destination": "y", "lines": []}, "id")
