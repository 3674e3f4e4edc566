"""The mails that the catcher of this machine keeps instead of sending them on: read only, newest first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from pipeline.settings import MAIL, Settings

_NAME = re.compile(r"(\d{13})-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caught:
    """One mail as it lies there; `at` UTC ms."""

    id: str
    at: int
    to: str
    subject: str
    message_id: str
    text: str
    html: str


class Inbox:
    """`kept` says whether there is a catcher at all: it has made its directory."""

    def __init__(self, settings: Settings) -> None:
        self._directory: Path = settings.data / MAIL

    @property
    def kept(self) -> bool:
        return self._directory.is_dir()

    def newest(self, count: int) -> list[Caught]:
        names = sorted((p.stem for p in self._directory.glob("*.eml") if _NAME.fullmatch(p.stem)), reverse=True)
        return [mail for mail in map(self.get, names[:count]) if mail is not None]

    def get(self, id_: str) -> Caught | None:
        match = _NAME.fullmatch(id_)  # nothing else is ever part of a path
        if match is None:
            return None
        try:
            message = message_from_bytes((self._directory / f"{id_}.eml").read_bytes(), policy=default)
        except OSError:
            return None
        assert isinstance(message, EmailMessage)
        return Caught(
            id_,
            int(match[1]),
            str(message["X-Caught-For"] or message["To"] or ""),
            str(message["Subject"] or ""),
            str(message["Message-ID"] or ""),
            _part(message, "plain"),
            _part(message, "html"),
        )


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body([kind])
    if body is None:
        return ""
    try:
        return str(body.get_content())
    except (LookupError, ValueError):  # an encoding nobody knows
        return ""
