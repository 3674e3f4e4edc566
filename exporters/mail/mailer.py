"""Mail to people about what the service did: text and HTML from one folder per mail, never rows of data, never an attachment.

A mail's id is made from what it is about, so that a repeat is seen to be one: same words, same Message-ID.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from exporters.mail.sender import Reply, Sender
from exporters.mail.smtp import SmtpSender
from pipeline import clock
from pipeline.settings import Settings

TEMPLATES = Path(__file__).with_name("templates")
# One folder each: subject.txt, body.txt, body.html.  What a mail needs to be told, by name.
REPORT = ("title", "window", "rows", "size", "file", "complete_through", "notes", "link", "kept_until")
MAILS = {
    "ready": REPORT,
    "failed": ("title", "window", "reason", "link"),
    "schedule": ("schedule", *REPORT),
    "sync": ("notice", "destination", "lines", "link"),
    "silence": ("source", "lines", "link"),
}


def recipients(text: str) -> list[str]:
    """Addresses as people write several: apart by spaces, commas or semicolons."""
    return [r for r in re.split(r"[\s,;]+", text) if r]


class Mailer:
    """`sender` is the configured server unless another one is given."""

    def __init__(self, settings: Settings, sender: Sender | None = None) -> None:
        """Raises ConfigError."""
        self._settings = settings
        self._sender = sender or SmtpSender(settings)
        self._from = settings.mail_from
        self._domain = parseaddr(settings.mail_from)[1].rpartition("@")[2] or "localhost"
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def send(
        self,
        template: str,
        recipients: Sequence[str],
        context: dict[str, Any],
        message_id: str,
        *,
        handing: Callable[[], None] = lambda: None,
    ) -> dict[str, Reply]:
        """One attempt; what the server said of each recipient.  `message_id` names what the mail is about: the same one, the same mail.

        Raises Unavailable, Refused; see Sender for `handing`.
        """
        return self._sender.send(self.message(template, recipients, context, message_id), recipients, handing=handing)

    def message(
        self, template: str, recipients: Sequence[str], context: dict[str, Any], message_id: str
    ) -> EmailMessage:
        missing = [name for name in MAILS[template] if name not in context]
        assert not missing, f"the mail {template} must be told {missing}"
        message = EmailMessage()
        message["From"] = self._from
        message["To"] = ", ".join(recipients)
        message["Subject"] = re.sub(r"\s+", " ", self._text(template, "subject.txt", context)).strip()
        message["Message-ID"] = f"<{message_id}@{self._domain}>"
        message["Date"] = format_datetime(datetime.fromtimestamp(clock.now_ms() // 1000, UTC))
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content(self._text(template, "body.txt", context).strip() + "\n")
        message.add_alternative(self._text(template, "body.html", context), subtype="html")
        return message

    def _text(self, template: str, part: str, context: dict[str, Any]) -> str:
        return self._templates.get_template(f"{template}/{part}").render(context)
