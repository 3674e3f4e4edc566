"""The only door to SMTP.  What the library raises becomes a reply or one of our errors here.

a recipient is refused            its reply: 4xx is tried again, 5xx is final
a recipient cannot be written     553, as a server says it of an address that is none
the sender or the text is         the same reply for everybody
sign-in, encryption               Refused: the operator changes a setting
anything else                     Unavailable: later
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import parseaddr

import aiosmtplib
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPSenderRefused,
)

from exporters.mail.sender import Reply
from pipeline.errors import ConfigError, Refused, Unavailable
from pipeline.settings import Settings

TIMEOUT_SECONDS = 30.0


class SmtpSender:
    """One connection per mail: there are few, and a server ends idle ones."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError."""
        settings.needs("smtp_host")
        self._settings = settings
        self._security = settings.smtp_security or ("off" if _loopback(settings.smtp_host) else "starttls")
        self._from = parseaddr(settings.mail_from)[1]
        if "@" not in self._from or not self._from.isascii():
            raise ConfigError(f"ACTIVITY_MAIL_FROM={settings.mail_from}: give an address, such as activity@example.com")
        self._trust = self._context(settings)

    def send(
        self, message: EmailMessage, recipients: Sequence[str], *, handing: Callable[[], None] = lambda: None
    ) -> dict[str, Reply]:
        where = f"the mail server {self._settings.smtp_host}:{self._settings.smtp_port}"
        try:
            return asyncio.run(self._send(message, recipients, handing))
        except (SMTPAuthenticationError, SMTPNotSupported) as error:
            raise Refused(
                f"{where} does not take the sign-in or has no encryption ({type(error).__name__}); correct ACTIVITY_SMTP_USER, ACTIVITY_SMTP_PASSWORD or ACTIVITY_SMTP_SECURITY"
            ) from None
        except ssl.SSLError as error:
            raise Refused(
                f"{where} shows a certificate that is not trusted ({type(error).__name__}); set ACTIVITY_SMTP_CA_FILE, or ACTIVITY_SMTP_HOST to the name in it"
            ) from None
        except (SMTPException, OSError, TimeoutError) as error:
            if "STARTTLS" in str(error) and self._security == "starttls":
                raise Refused(
                    f"{where} offers no STARTTLS; set ACTIVITY_SMTP_SECURITY to tls, if-offered or off"
                ) from None
            raise Unavailable(f"{where} does not take mail now ({type(error).__name__}); it is tried again") from None

    async def _send(
        self, message: EmailMessage, recipients: Sequence[str], handing: Callable[[], None]
    ) -> dict[str, Reply]:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_user or None,
            password=settings.smtp_password or None,
            use_tls=self._security == "tls",
            start_tls={"starttls": True, "if-offered": None}.get(self._security, False),
            tls_context=self._trust,
            timeout=TIMEOUT_SECONDS,
        )
        await client.connect()
        try:
            said: dict[str, Reply] = {}
            try:
                await client.mail(self._from)
            except SMTPSenderRefused as error:
                return dict.fromkeys(recipients, _reply(error))
            for recipient in recipients:
                try:
                    answer = await client.rcpt(recipient)
                    said[recipient] = Reply(answer.code, answer.message)
                except SMTPResponseException as error:
                    said[recipient] = _reply(error)
                except ValueError:  # it cannot even be written in the protocol
                    said[recipient] = Reply(553, "not an address that can be asked for")
            welcome = [r for r, reply in said.items() if reply.taken]
            if welcome:
                handing()
                try:
                    answer = await client.data(message.as_bytes(policy=WIRE))
                    said |= dict.fromkeys(welcome, Reply(answer.code, answer.message))
                except SMTPDataError as error:
                    said |= dict.fromkeys(welcome, _reply(error))
            return said
        finally:
            client.close()

    @staticmethod
    def _context(settings: Settings) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=settings.smtp_ca_file or None)
        except (OSError, ssl.SSLError):
            raise ConfigError(
                f"ACTIVITY_SMTP_CA_FILE={settings.smtp_ca_file}: cannot be read as certificates; give a PEM file"
            ) from None


def _reply(error: SMTPResponseException) -> Reply:
    return Reply(error.code, error.message)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
