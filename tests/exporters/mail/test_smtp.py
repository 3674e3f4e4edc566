"""The door to SMTP, against a real server: encryption, sign-in, and which failure becomes which error."""

from __future__ import annotations

import re

import pytest

from deploy.local.processes import free_port
from exporters.mail.mailer import Mailer
from exporters.mail.smtp import SmtpSender
from pipeline.errors import ConfigError, Refused, Unavailable
from pipeline.settings import Settings
from tests.contracts.test_senders import a_mail
from tests.mail import certificate, checks, mail_server

TO = ["b@x.example"]


def sender(server, **more):
    return SmtpSender(Settings(smtp_host="127.0.0.1", smtp_port=server.port, **more))


def test_starttls_when_required_encrypts_and_signs_in(tmp_path):
    context, pem = certificate(tmp_path)
    options = {"tls_context": context, "require_starttls": True, "authenticator": checks("jane", "s3cret")}
    with mail_server(auth_required=True, **options) as server:
        known = {"smtp_security": "starttls", "smtp_ca_file": str(pem), "smtp_user": "jane"}
        assert sender(server, **known, smtp_password="s3cret").send(a_mail(), TO)[TO[0]].taken
        with pytest.raises(Refused, match="ACTIVITY_SMTP_PASSWORD"):
            sender(server, **known, smtp_password="wrong").send(a_mail(), TO)
        assert len(server.taken) == 1


def test_a_certificate_nobody_vouches_for_is_refused_also_if_encryption_is_only_offered(tmp_path):
    context, _ = certificate(tmp_path)
    with mail_server(tls_context=context) as server:
        for security in ("starttls", "if-offered"):
            with pytest.raises(Refused, match="ACTIVITY_SMTP_CA_FILE"):
                sender(server, smtp_security=security).send(a_mail(), TO)
        assert server.taken == []


def test_no_encryption_offered_is_an_error_only_where_it_is_required():
    with mail_server() as server:
        with pytest.raises(Refused, match="ACTIVITY_SMTP_SECURITY"):
            sender(server, smtp_security="starttls").send(a_mail(), TO)
        assert server.taken == []
        assert sender(server, smtp_security="if-offered").send(a_mail(), TO)[TO[0]].taken


def test_tls_from_the_first_byte(tmp_path):
    context, pem = certificate(tmp_path)
    with mail_server(ssl_context=context) as server:
        assert sender(server, smtp_security="tls", smtp_ca_file=str(pem)).send(a_mail(), TO)[TO[0]].taken


def test_off_loopback_encryption_is_required_unless_said_otherwise():
    assert SmtpSender(Settings(smtp_host="mail.example.com"))._security == "starttls"
    assert SmtpSender(Settings(smtp_host="localhost"))._security == "off"


def test_nobody_there_and_a_server_that_says_not_now_are_waited_for():
    with pytest.raises(Unavailable, match="tried again"):
        SmtpSender(Settings(smtp_host="127.0.0.1", smtp_port=free_port())).send(a_mail(), TO)
    with mail_server() as server:
        server.answer = "451 later"
        said = sender(server).send(a_mail(), TO)[TO[0]]
        assert (said.code, said.final) == (451, False)
        server.answer = "554 spam"
        assert sender(server).send(a_mail(), TO)[TO[0]].final


@pytest.mark.parametrize("address", ["jörg@x.example", "jane@bücher.example", "\udce9@x.example"])
def test_a_recipient_that_cannot_be_written_is_refused_for_good_and_the_others_get_it(address):
    with mail_server() as server:
        said = sender(server).send(a_mail(), [address, *TO])
        assert (said[address].code, said[address].final, said[TO[0]].taken) == (553, True, True)
        assert [to for _, to in server.taken] == [TO]


def test_wrong_settings_are_named():
    for wrong, names in (
        ({}, "ACTIVITY_SMTP_HOST"),
        ({"smtp_host": "x.example", "mail_from": "nobody"}, "ACTIVITY_MAIL_FROM"),
        ({"smtp_host": "x.example", "smtp_ca_file": "/nowhere"}, "ACTIVITY_SMTP_CA_FILE"),
    ):
        with pytest.raises(ConfigError, match=names):
            SmtpSender(Settings(**wrong))


def test_the_words_of_the_errors_hold_no_secret(tmp_path):
    settings = Settings(smtp_host="127.0.0.1", smtp_port=free_port(), smtp_user="jane", smtp_password="s3cret")
    assert "s3cret" not in repr(settings)
    with pytest.raises(Unavailable) as caught:
        Mailer(settings).send("sync", TO, {"notice": "N", "destination": "d", "lines": [], "link": "x"}, "id")
    assert not re.search("s3cret|jane|b@x", str(caught.value))
