"""A report as it is asked for, and what it asks: words and wall times become instants here.  PURE."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from exporters.mail.addresses import Recipient
from exporters.reports.build import ACTIVE_KIND, AUTHENTICATION_KIND, INACTIVE_KIND, Parameters
from exporters.reports.presets import preset_window
from pipeline.errors import RequestError
from pipeline.model.events import AUTHENTICATION_TYPES, FAILURE_REASONS
from pipeline.model.windows import BUCKET_MS, WindowError, instant, window, zone

DEFAULT_TIMEOUT_SECONDS = 60.0


Format = Literal["csv", "ndjson", "json", "ocsf"]


def fitting(asked: Any) -> Any:
    """An ask whose format is one of its kind.  Raises ValueError."""
    people = asked.kind != AUTHENTICATION_KIND
    if asked.format is not None and (asked.format == "csv") != people:
        raise ValueError(
            f"{asked.format} is no format of the {asked.kind} report; {'csv is' if people else 'ndjson, json and ocsf are'}"
        )
    return asked


class Ask(BaseModel):
    """A report to be made.  Either a preset, or dates or date-times on 15-minute edges in `tz`; `to` is exclusive."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    kind: Literal["active", "inactive", "authentication"]
    preset: Literal["", "24h", "7d", "30d", "90d", "this_month", "last_month"] = Field(
        "", description="A range that ends now"
    )
    from_: str = Field("", alias="from", max_length=40, description="First day or date-time")
    to: str = Field("", max_length=40, description="End, exclusive")
    tz: str = Field("UTC", max_length=64, description="IANA time zone of `from`, `to`, `as_of` and the presets")
    days: int | None = Field(None, ge=0, le=36_500, description="Inactive: days without access; missing: the setting")
    as_of: str = Field("", max_length=40, description="Inactive: instant to count back from; empty: now")
    format: Format | None = Field(
        None,
        description="Of sign-ins: `ndjson` (default), `json` for one array, or `ocsf` for OCSF 1.8, an event a line",
    )
    gzip: bool = Field(default=False, description="Make the file compressed")
    excel: bool = Field(default=False, description="Begin a CSV with a byte order mark")
    user: str = Field("", max_length=1000, description="Sign-ins: of this e-mail or id only")
    type: Literal["", "client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset"] = ""
    result: Literal["", "success", "failure"] = ""
    reason: str = Field("", max_length=40)
    recipients: list[Recipient] = Field(default_factory=list, max_length=50)
    timeout_seconds: float = Field(DEFAULT_TIMEOUT_SECONDS, gt=0, le=3600)
    _fitting = model_validator(mode="after")(fitting)


def parameters_of(ask: Ask, *, now_ms: int, inactive_days: int, device_days: int) -> Parameters:
    """Raises RequestError."""
    common: dict[str, Any] = {"gzip": ask.gzip, "excel": ask.excel, "tz": ask.tz}
    try:
        if ask.kind == INACTIVE_KIND:
            as_of = instant(ask.as_of, zone(ask.tz)) if ask.as_of else now_ms - now_ms % BUCKET_MS
            return Parameters(as_of_ms=as_of, days=inactive_days if ask.days is None else ask.days, **common)
        if ask.preset:
            if ask.from_ or ask.to:
                raise RequestError("give a preset or both ends of the window, not both")
            from_ms, to_ms = preset_window(ask.preset, now_ms=now_ms, where=zone(ask.tz))
        elif ask.from_ and ask.to:
            from_ms, to_ms = window(ask.from_, ask.to, ask.tz)
        else:
            raise RequestError("give both ends of the window: from and to")
    except WindowError as error:
        raise RequestError(str(error)) from None
    if ask.kind == ACTIVE_KIND:
        return Parameters(from_ms=from_ms, to_ms=to_ms, device_days=device_days, **common)
    if ask.reason and ask.reason not in FAILURE_REASONS:
        raise RequestError(f"unknown reason {ask.reason!r}; one of {', '.join(FAILURE_REASONS)}")
    assert not ask.type or ask.type in AUTHENTICATION_TYPES
    return Parameters(
        from_ms=from_ms,
        to_ms=to_ms,
        user=ask.user,
        type=ask.type,
        result=ask.result,
        reason=ask.reason,
        format=ask.format or "ndjson",
        gzip=ask.gzip,
        tz=ask.tz,
    )
