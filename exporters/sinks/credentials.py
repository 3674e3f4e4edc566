"""Credentials as the targets name them: read from files again when those change, renewed before they end, never kept anywhere else."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    Credentials,
    DeferredRefreshableCredentials,
    ReadOnlyCredentials,
)
from botocore.loaders import create_loader
from botocore.session import Session

from exporters.sinks.remedies import CHANGE, DENIED, UNKNOWN_SECONDS, code_of, translated
from exporters.sinks.target import Ambient, BucketTarget, KeyPair, Role, WebIdentity
from pipeline import settings
from pipeline.errors import ConfigError, Problem, Refused, Unavailable

SESSION_NAME = "user-activity"  # what the bucket owner's audit trail shows
MANDATORY_SECONDS = 600
TOKEN = re.compile(r"[\w-]{4,}\.[\w-]{4,}\.[\w-]+")  # the three parts of a signed JSON web token
_LOADER = create_loader()  # reads the library's large descriptions of services once, not for every sink


def session(target: BucketTarget, config: Config, said: Any = None) -> boto3.Session:
    """A session whose clients sign as `said`, the target's credentials unless others are given.  Raises ConfigError, Refused."""
    said = target.credentials if said is None else said
    made = Session()
    made.register_component("data_loader", _LOADER)
    match said:
        case Ambient():
            pass
        case KeyPair():
            _give(made, _FileKeys(said) if said.file else _from_environment(said))
        case Role():
            _give(made, _Renewed(_Assumed(target, said, config), said.session_seconds))
        case WebIdentity():
            _give(made, _Renewed(_Identified(target, said, config), said.session_seconds))
    return boto3.Session(botocore_session=made, region_name=target.region)


class _Given(CredentialProvider):  # type: ignore[misc]
    METHOD = "target"

    def __init__(self, credentials: Any) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials


def _give(made: Session, credentials: Any) -> None:
    made.register_component("credential_provider", CredentialResolver([_Given(credentials)]))


class _Renewed(DeferredRefreshableCredentials):  # type: ignore[misc]
    """Renewed in good time: when a quarter of the session is left, or what the library takes if that is later."""

    def __init__(self, ask: Any, seconds: int) -> None:
        super().__init__(refresh_using=ask, method="target")
        self._advisory_refresh_timeout = seconds / 4
        self._mandatory_refresh_timeout = min(MANDATORY_SECONDS, seconds / 8)


class _FileKeys(Credentials):  # type: ignore[misc]
    """Keys in a file, read again when it changes, so that they can be exchanged under a running system."""

    def __init__(self, said: KeyPair) -> None:
        self._said = said
        self._seen: tuple[int, int] | None = None
        self._frozen = self._read()
        super().__init__(self._frozen.access_key, self._frozen.secret_key, method="target")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        assert self._said.file is not None
        try:
            about = self._said.file.stat()
            if (about.st_mtime_ns, about.st_ino) != self._seen:
                self._frozen = self._read()
        except (OSError, ConfigError):
            pass  # a file that is being exchanged: the old keys until the new ones are whole
        return self._frozen

    def _read(self) -> ReadOnlyCredentials:
        path = self._said.file
        assert path is not None
        try:
            about, text = path.stat(), path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the keys cannot be read ({error}); make the file readable") from None
        key_id, secret, token = _parsed(path, text, self._said.profile)
        self._seen = (about.st_mtime_ns, about.st_ino)
        return ReadOnlyCredentials(key_id, secret, token)


def _parsed(path: Path, text: str, profile: str) -> tuple[str, str, str | None]:
    wrong = ConfigError(
        f'{path}: no keys in it; write {{"key_id": …, "secret": …}} or an AWS credentials file with [{profile}]'
    )
    try:
        if text.lstrip().startswith("{"):
            found = json.loads(text)
            values = found["key_id"], found["secret"], found.get("token")
        else:
            ini = configparser.ConfigParser(interpolation=None)
            ini.read_string(text)
            found = ini[profile]
            values = found["aws_access_key_id"], found["aws_secret_access_key"], found.get("aws_session_token")
    except (KeyError, ValueError, configparser.Error):
        raise wrong from None
    if not all(isinstance(v, str) and v.strip() for v in values[:2]):
        raise wrong
    return values


def _from_environment(said: KeyPair) -> Credentials:
    names = f"{said.environment}_KEY_ID", f"{said.environment}_SECRET"
    values = [settings.secret(name) for name in names]
    if missing := [name for name, value in zip(names, values, strict=True) if not value]:
        raise ConfigError(f"{' and '.join(missing)}: not set; set it, or {missing[0]}_FILE to a file that holds it")
    return Credentials(*values, method="target")


def _sts(target: BucketTarget, said: Role | WebIdentity, config: Config, source: Any) -> Any:
    made = session(target, config, source)
    return made.client("sts", endpoint_url=said.sts_endpoint, config=config)


def hands_out(target: BucketTarget, said: Role, config: Config, external_id: str | None) -> bool:
    """Whether the role is given to who names this external id, or none.  Raises Unavailable, Refused for any other reason than that it is not."""
    client = _sts(target, said, config, said.source)
    try:
        client.assume_role(**_asking(said), **({"ExternalId": external_id} if external_id else {}))
    except Exception as error:
        if code_of(error) in DENIED:
            return False
        raise _understood(error, target.place) from None
    return True


def _asking(said: Role | WebIdentity) -> dict[str, Any]:
    return {
        "RoleArn": said.role_arn,
        "RoleSessionName": SESSION_NAME,
        "DurationSeconds": said.session_seconds,
    }


class _Assumed:
    """A role taken on with the external id that its owner gave us."""

    def __init__(self, target: BucketTarget, said: Role, config: Config) -> None:
        self._said = said
        self._place = target.place
        self._client = _sts(target, said, config, said.source)

    def __call__(self) -> dict[str, str]:
        asking = _asking(self._said)
        return _session(lambda: self._client.assume_role(**asking, ExternalId=self._said.external_id), self._place)


class _Identified:
    """A role taken on with the token in a file, read anew each time."""

    def __init__(self, target: BucketTarget, said: WebIdentity, config: Config) -> None:
        self._said = said
        self._place = target.place
        unsigned = config.merge(Config(signature_version="unsigned"))
        self._client = _sts(target, said, unsigned, Ambient())

    def __call__(self) -> dict[str, str]:
        try:
            token = self._said.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise Refused(f"{self._place}: {self._said.token_file} cannot be read; put the token there") from None
        # The content of this file leaves the machine: whoever may name a destination must not be able to send away any file there is.
        if not TOKEN.fullmatch(token):
            raise Refused(f"{self._place}: {self._said.token_file} holds no web identity token; put the token there")
        asking = _asking(self._said)
        return _session(
            lambda: self._client.assume_role_with_web_identity(**asking, WebIdentityToken=token), self._place
        )


def _session(ask: Callable[[], Any], place: str) -> dict[str, str]:
    """What an answer of STS gives, as the library keeps it.  Raises Unavailable, Refused."""
    try:
        given = ask()["Credentials"]
        ends = given["Expiration"]
        found = {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": ends.isoformat(),
        }
        over = ends <= datetime.now(UTC)
    except Exception as error:
        raise _understood(error, place) from None
    if over:
        raise Refused(f"{place}: the session that the role gives has ended already; {CHANGE['RequestTimeTooSkewed']}")
    return found


def _understood(error: Exception, place: str) -> Problem:
    """The remedy, also of an answer that is well-formed and makes no sense."""
    if isinstance(error, KeyError | TypeError | ValueError):
        return Unavailable(
            f"{place}: the answer to the request for a role cannot be used; correct sts_endpoint, or mend what answers there",
            retry_after_seconds=UNKNOWN_SECONDS,
        )
    return translated(error, place)
