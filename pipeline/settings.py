"""The only door to the environment: one table of settings, each with its default and its help.

Precedence: environment (`ACTIVITY_KAFKA=…`, or `ACTIVITY_KAFKA_FILE=/run/secrets/…` for the value in a file), then the endpoints that a
running `activity up` wrote into the data directory, then `activity.toml` in the data directory, then the defaults below.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import ConfigError

PREFIX = "ACTIVITY_"
ENDPOINTS = "endpoints.json"  # written by `activity up`: {"kafka": …, "redis": …, "reports_url": …}
MAIL = "mail"  # below the data directory: mails that were caught instead of sent on
DEFAULT_DATA = Path(".activity")


class Settings(BaseSettings):
    """Everything that can be set.  Units are in the names; zero never means "off" unless the help says so."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data: Path = Field(
        DEFAULT_DATA,
        description="Directory of all local state: endpoints, store, report files, and the servers that `up` starts",
    )
    kafka: str = Field(
        "", description="Kafka bootstrap servers, host:port, comma separated; empty: the one that `up` runs"
    )
    redis: str = Field("", description="Redis URL; empty: the one that `up` runs")
    reports_url: str = Field("", description="Where the reports service answers; empty: the one that `up` runs")
    token: str = Field(
        "",
        repr=False,
        description="Token that the command line shows the reports service; empty: the one in the data directory",
    )
    store: str = Field(
        "",
        description="Report store: chdb:///path or http://user:password@host:8123/database; empty: embedded in the data directory",
    )

    app_id: str = Field(
        "activity",
        pattern=r"^[a-zA-Z0-9._-]{1,80}$",
        description="Consumer group of the workers and prefix of their changelog topics",
    )
    topic_prefix: str = Field("activity", pattern=r"^[a-zA-Z0-9._-]{1,80}$", description="Prefix of all other topics")
    partitions: int = Field(
        24, ge=1, le=1000, description="Partitions of each source topic and its changelog, used by `topics create`"
    )
    replication: int = Field(-1, ge=-1, le=10, description="Replicas of each topic; -1: the broker's default")

    flush_seconds: float = Field(0.2, gt=0, le=10, description="How often the worker makes its changes durable")
    flush_events: int = Field(
        100_000, ge=1, description="Changes are made durable at the latest after this many events"
    )
    fragment_idle_seconds: float = Field(
        3600, gt=0, description="A fragment without a write for this long leaves the worker's memory"
    )
    fragment_bytes: int = Field(
        65_536,
        ge=1024,
        le=524_288,
        description="A fragment that has grown to about this size is sealed and a new one begun",
    )
    session_timeout_seconds: float = Field(
        30, ge=1, le=300, description="A worker silent for this long loses its partitions"
    )
    commit_seconds: float = Field(
        1.0, gt=0, le=60, description="How often the worker commits the newest verified ledger"
    )
    stall_seconds: float = Field(
        30,
        gt=0,
        description="A partition with events waiting and no progress for this long ends the worker for a restart",
    )
    idle_ledger_seconds: float = Field(
        600, gt=0, description="An idle partition writes its ledger again after this long"
    )
    stop_on_rejects: bool = Field(
        False,
        description="Stop the worker when more than half of the last 10,000 records are rejected (otherwise only an alarm)",
    )
    worker_port: int = Field(0, ge=0, le=65_535, description="Port of the worker's /metrics on 127.0.0.1; 0: none")

    reports_host: str = Field(
        "127.0.0.1",
        description="Address the reports service listens on; without a configured login only loopback is accepted",
    )
    reports_port: int = Field(8080, ge=0, le=65_535, description="Port of the reports service; 0: a free one")
    public_url: str = Field(
        "",
        description="Where people reach the reports service, such as https://reports.example.com: for links in mail and for login; empty: reports_url",
    )
    allowed_hosts: str = Field(
        "",
        description="Further host names the reports service answers to, comma separated; loopback and that of public_url always count",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma separated",
    )
    inactive_days: int = Field(
        90, ge=1, le=3650, description="Days without access after which the Inactive Users report lists a person"
    )
    device_days: int = Field(30, ge=1, le=3650, description="Days that count for the column active_devices")
    report_expiry_days: int = Field(7, ge=1, le=3650, description="Days a finished report file is kept")
    report_target: str = Field(
        "",
        description='Where finished report files lie: {"kind": "s3", "bucket": …} as a destination has it, with a rule in the bucket that deletes old ones; empty: the data directory. Several reports services need a bucket',
    )
    report_history_days: int = Field(
        90, ge=1, le=3650, description="Days after that for which an expired report is still listed"
    )
    report_builders: int = Field(
        2, ge=2, le=64, description="Reports that one service makes at once; long ones never have all of these places"
    )
    report_open_limit: int = Field(
        20, ge=1, le=10_000, description="Reports that one person may have waiting or being made"
    )
    report_hour_seconds: float = Field(
        3600,
        gt=0,
        description="Seconds of building that one person's reports may take within an hour, before others must wait",
    )
    smtp_host: str = Field("", description="Mail server; empty: the catcher that `up` runs, or no mail")
    smtp_port: int = Field(587, ge=1, le=65_535, description="Port of the mail server")
    smtp_security: Literal["", "starttls", "if-offered", "tls", "off"] = Field(
        "",
        description="How mail is protected on its way: starttls (required), if-offered, tls (from the first byte), off; empty: starttls, on loopback off",
    )
    smtp_user: str = Field("", description="Name to sign in with at the mail server; empty: no sign-in")
    smtp_password: str = Field("", repr=False, description="Password at the mail server")
    smtp_ca_file: str = Field("", description="PEM file of certificates to trust instead of the system's")
    mail_from: str = Field("User Activity <activity@localhost>", description="Sender of the mails")
    store_memory_bytes: int = Field(
        1_000_000_000,
        ge=100_000_000,
        description="Memory one query of the report store may use before it spills to disk",
    )
    retention_months: int = Field(
        0,
        ge=0,
        le=1200,
        description="Whole months the report store keeps before the running one; 0: everything. Reports say from when on they are complete",
    )

    snapshot_seconds: float = Field(
        2.0,
        gt=0,
        le=3600,
        description="How often the rolling windows are looked at; they are computed anew only if something changed",
    )
    destinations: dict[str, dict[str, Any]] = Field(
        {},
        description="Where `activity sync` delivers: {name: {target, kinds, …}}, as JSON, or as tables [destinations.NAME] in activity.toml; see docs/sync.md",
    )
    sync_memory_bytes: int = Field(
        128_000_000,
        ge=8_000_000,
        description="Memory that `activity sync` may hold in batches, over all partitions and destinations",
    )
    sync_port: int = Field(0, ge=0, le=65_535, description="Port of the sync's /metrics on 127.0.0.1; 0: none")

    silence_minutes: float = Field(
        60,
        gt=0,
        le=43_200,
        description="A connector or source from which nothing has arrived for this long is silent: a notice, a metric, a mark on the overview",
    )
    silence_recipients: str = Field("", description="E-mail addresses told of silence, comma separated; empty: nobody")
    silence_webhook: str = Field(
        "",
        repr=False,
        description="URL that is sent a JSON object when somebody falls silent or speaks again; empty: none",
    )

    session_hours: float = Field(12, gt=0, le=24 * 30, description="Hours after which a person must sign in again")
    session_key: str = Field(
        "",
        repr=False,
        description="Secret that signs sessions, the same for all reports services; empty: one made in the data directory",
    )
    login_issuer: str = Field(
        "",
        description="Issuer of the OpenID Connect provider that people sign in with; empty: one-time links on loopback only",
    )
    login_client_id: str = Field("", description="Client id at the provider")
    login_client_secret: str = Field(
        "", repr=False, description="Client secret at the provider; empty: a public client"
    )
    login_scopes: str = Field("openid email profile", description="Scopes to ask the provider for, space separated")
    login_name_claim: str = Field(
        "email", description="Claim that names a person; an e-mail said to be unverified is refused"
    )
    login_group_claim: str = Field("groups", description="Claim that lists a person's groups")
    login_admin_groups: str = Field("", description="Groups whose members are administrators, comma separated")
    login_admins: str = Field(
        "", description="People who are administrators, as the name claim has them, comma separated"
    )
    login_viewer_groups: str = Field(
        "", description="Groups whose members may sign in, comma separated; *: everybody the provider lets in"
    )
    login_domains: str = Field("", description="Mail domains people must belong to, comma separated; empty: any")
    login_leeway_seconds: int = Field(60, ge=0, le=600, description="How far the provider's clock may be off from ours")
    login_attempts_per_minute: int = Field(
        30, ge=1, description="Wrong links, tokens and logins of one address that are looked at; more get 429"
    )
    requests_per_minute: int = Field(
        1200, ge=1, description="Requests of one person, token or unknown address that are answered; more get 429"
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged")
    log_json: bool = Field(False, description="Log lines as JSON objects")

    @field_validator("kafka", "redis", "reports_url", "store", "public_url", "login_issuer", mode="before")
    @classmethod
    def _stripped(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @field_validator("destinations", mode="before")
    @classmethod
    def _tables(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value or "{}")
        except ValueError as error:
            raise ValueError(f"not JSON ({error})") from None

    @property
    def people_url(self) -> str:
        """What a link that people get begins with."""
        return (self.public_url or self.reports_url).rstrip("/")

    @property
    def store_url(self) -> str:
        return self.store or f"chdb://{(self.data / 'store').resolve()}"

    @property
    def site_url(self) -> str:
        """Where people reach the pages, without a slash at the end."""
        return (self.public_url or self.reports_url).rstrip("/")

    def needs(self, *names: str) -> None:
        """Refuse to go on without these endpoints, all missing ones named at once."""
        missing = [n for n in names if not getattr(self, n)]
        if missing:
            wanted = " and ".join(f"{PREFIX}{n.upper()}" for n in missing)
            raise ConfigError(
                f"no system found in {self.data}: start one with `activity up --data {self.data}`, or set {wanted}"
            )


def load(data: Path | None = None, **overrides: Any) -> Settings:
    """Settings for one process.  All faults are named at once.  Raises ConfigError."""
    environment = _environment()
    directory = Path(data or environment.get("data") or DEFAULT_DATA)
    values = _file(directory / "activity.toml") | _endpoints(directory) | environment
    values |= {k: v for k, v in overrides.items() if v is not None}
    values["data"] = directory
    try:
        return Settings(**values)
    except ValidationError as error:
        faults = "; ".join(_fault(e) for e in error.errors())
        raise ConfigError(f"settings: {faults}") from None


def secret(variable: str) -> str | None:
    """The value of a variable, or what is in the file that VARIABLE_FILE names.  Raises ConfigError."""
    if (value := os.environ.get(variable)) is not None:
        return value
    if (path := os.environ.get(f"{variable}_FILE")) is None:
        return None
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"{variable}_FILE: cannot read {path} ({error.strerror}); make it readable or unset it"
        ) from None


def _environment() -> dict[str, Any]:
    found = {name: secret(PREFIX + name.upper()) for name in Settings.model_fields}
    return {name: value for name, value in found.items() if value is not None}


def _endpoints(directory: Path) -> dict[str, Any]:
    try:
        written = json.loads((directory / ENDPOINTS).read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in written.items() if k in Settings.model_fields}


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}); mend or remove it") from None


def _fault(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else "?"
    return f"{PREFIX}{name.upper()}: {error['msg']}"
