"""A real mail server for tests, that refuses whom it is told to and remembers what it took."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.local.processes import free_port


class Server:
    """`refuses`: {address: "550 …"}; `answer` is said to every text; `on_taken` is called before that."""

    def __init__(self) -> None:
        self.taken = []
        self.refuses = {}
        self.answer = "250 taken"
        self.on_taken = lambda: None

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 welcome"

    async def handle_DATA(self, _server, _session, envelope):
        if self.answer.startswith("250"):
            self.taken.append((message_from_bytes(envelope.content, policy=default), list(envelope.rcpt_tos)))
        self.on_taken()
        return self.answer


@contextmanager
def mail_server(port: int = 0, **options):
    server = Server()
    controller = Controller(server, hostname="127.0.0.1", port=port or free_port(), **options)
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


def checks(name: str, password: str):
    """An authenticator that knows one person."""

    def check(_server, _session, _envelope, _mechanism, data):
        right = (data.login.decode(), data.password.decode()) == (name, password)
        return AuthResult(success=right, handled=right)

    return check


def certificate(directory: Path, *, host: str = "127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the file that makes a client trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = directory / "server.pem", directory / "server.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, pem
