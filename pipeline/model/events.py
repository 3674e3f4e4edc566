"""What can happen.  An event that exists is valid; bytes that cannot become one are `Rejected`, with a reason from a fixed list.

Instants are UTC epoch milliseconds (`int`).  Missing text is the empty string: no field of an event is None.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec


class Reason(StrEnum):
    """Why a record can never be an event.  The documentation lists these texts."""

    help: str

    def __new__(cls, value: str, help: str) -> Reason:  # noqa: A002 - the table reads `name, help` everywhere
        member = str.__new__(cls, value)
        member._value_ = value
        member.help = help
        return member

    NOT_JSON = "not_json", "The value is not one JSON value"
    NOT_UTF8 = "not_utf8", "The value is not UTF-8"
    TOO_LARGE = "too_large", "The value is larger than 256 KiB"
    TOO_DEEP = "too_deep", "Arrays and objects are nested deeper than 32"
    UNKNOWN_TYPE = "unknown_type", "The value is none of the known dialects"
    WRONG_TOPIC = "wrong_topic", "A valid event of the other topic"
    MISSING_FIELD = "missing_field", "A required field is missing or null"
    WRONG_TYPE = "wrong_type", "A field has another JSON type, or is not one of its fixed words"
    BAD_TIME = "bad_time", "The event time cannot be read, lies before 1980 or more than one day after the record"
    BAD_ADDRESS = "bad_address", "The client address is text but not an IP address"
    OUT_OF_RANGE = "out_of_range", "A number is negative or above 2^63-1"


class Rejected(Exception):  # noqa: N818 - an outcome with a name, not a fault of ours
    """This record, never.  `path` is the JSON path at fault, "$" for the whole value."""

    def __init__(self, reason: Reason, path: str = "$") -> None:
        super().__init__(f"{reason.value} at {path}")
        self.reason = reason
        self.path = path


class Principal(NamedTuple):
    """Who, as the event has it: either of `id` and `email` may be empty, never both.  `email` is case-folded."""

    kind: str
    id: str
    email: str


USER = "user"
SERVICE_ACCOUNT = "service_account"
# Stands where nobody asked who it was.
UNASKED = Principal(USER, "", "")

# What became of a connection.  ESTABLISHED counts nothing and moves last access; the others are terminal and count once.
ESTABLISHED = "established"
SUCCESS = "success"
FAILED_DNS = "failed_dns"
FAILED_OTHER = "failed_other"

RELAY = "relay"
PEER_TO_PEER = "p2p"


class Connection(msgspec.Struct, gc=False):
    """One connection event.  `path` is RELAY, PEER_TO_PEER or empty (unknown); `client_ip` canonical or empty; bytes ≥ 0."""

    principal: Principal
    time: int
    outcome: str
    path: str = ""
    bytes_transferred: int = 0
    bytes_received: int = 0
    client_ip: str = ""
    device: str = ""
    id: str = ""  # what identifies the event among its source's events, empty if it has nothing of the kind


class Authentication(msgspec.Struct, gc=False):
    """One sign-in or MFA event.  `type` is one of five, `result` success or failure, `reason` one of the list, empty on success.

    `form`: BARE or ENVELOPED if its value has documented fields alone, says the reason as it is here, and lies in an envelope that begins with
    `event_type` or in none; empty says nothing.
    """

    principal: Principal
    time: int
    type: str
    result: str
    reason: str = ""
    id: str = ""
    form: str = ""


BARE = "bare"
ENVELOPED = "enveloped"
Event = Connection | Authentication

AUTHENTICATION_TYPES = ("client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset")
FAILURE_REASONS = (
    "idp_error",
    "posture_mismatch",
    "policy_block",
    "location_block",
    "mfa_failed",
    "user_disabled",
    "unknown",
)
