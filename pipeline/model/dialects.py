"""Bytes to events.  Every outside form of an event is a table of its documented fields here; what is not in a table is ignored.

A value is judged in this order: size, UTF-8, depth, JSON, dialect, topic, fields.  `decode_connections` first tries the frequent shapes with one
typed decoder each; whatever they do not take goes the exact way, which finds the reason and the path.  Null is the same as missing.

Where an event names both a user and a service account it is the user's.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from socket import AF_INET, inet_pton
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pipeline.model import addresses, times
from pipeline.model.events import (
    BARE,
    ENVELOPED,
    ESTABLISHED,
    FAILED_DNS,
    FAILED_OTHER,
    FAILURE_REASONS,
    PEER_TO_PEER,
    RELAY,
    SERVICE_ACCOUNT,
    SUCCESS,
    UNASKED,
    USER,
    Authentication,
    Connection,
    Principal,
    Reason,
    Rejected,
)

# What a connector writes before its JSON, and what some shippers leave there.
ANALYTICS = b"ANALYTICS "
MAX_VALUE_BYTES = 262_144
MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
CACHE_SIZE = 65_536

Text = str | None
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=MAX_INTEGER)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)] | None
State = Literal["established_connection", "closed_connection", "failed_to_connect", "denied_access"]
STATES = frozenset(("established_connection", "closed_connection", "failed_to_connect", "denied_access"))


class _Named(Struct, gc=False):
    id: Text = None
    name: Text = None


class _User(Struct, gc=False):
    id: Text = None
    email: Text = None


class _ServiceAccount(Struct, gc=False):
    id: Text = None
    name: Text = None
    key: Text = None
    key_id: Text = None


class _Relay(Struct, gc=False):
    ip: Text = None
    name: Text = None
    port: Amount = None


class _LogConnection(Struct, gc=False):
    id: Text = None
    client_ip: Text = None
    protocol: Text = None
    resource_ip: Text = None
    resource_port: Amount = None
    duration: Amount = None
    rx: Amount = None
    tx: Amount = None
    tunnel_path: Text = None
    tunnel_proto: Text = None
    cbct_freshness: Whole | None = None
    error_message: Text = None


class _LogResource(Struct, gc=False):
    address: Text = None
    applied_rule: Text = None
    id: Text = None


class ConnectorLog(Struct, gc=False):
    """A connector's own log line; `timestamp` in Unix milliseconds, rx = to the user, tx = to the Resource."""

    event_type: State
    timestamp: Whole
    id: Text = None
    connection: _LogConnection | None = None
    connector: _Named | None = None
    device: _Named | None = None
    user: _User | None = None
    service_account: _ServiceAccount | None = None
    remote_network: _Named | None = None
    resource: _LogResource | None = None
    relays: list[_Relay] | None = None
    location: Text = None


class _NetworkConnection(Struct, gc=False):
    id: Text = None
    client_ip: Text = None
    protocol: Text = None
    bytes_received: Amount = None
    bytes_transferred: Amount = None
    tunnel_path: Text = None
    error_message: Text = None


class _NetworkResource(Struct, gc=False):
    address: Text = None
    applied_rule: Text = None
    id: Text = None
    ip: Text = None
    port: Amount = None


class NetworkEvent(Struct, gc=False):
    """The S3 form, without its envelope."""

    time: str
    status: State
    version: Amount = None
    id: Text = None
    connection: _NetworkConnection | None = None
    connector: _Named | None = None
    device: _Named | None = None
    user: _User | None = None
    service_account: _ServiceAccount | None = None
    remote_network: _Named | None = None
    resource: _NetworkResource | None = None
    relays: list[_Relay] | None = None
    location: dict[str, Any] | None = None


class _NetworkEnvelope(Struct, gc=False):
    event_type: Literal["network_access", "network"]
    event: NetworkEvent


class CsvRow(Struct, gc=False):
    """A row of the console's network-events export as an object of its own columns; every value is text, "" is missing."""

    status: Literal["NORMAL", "DNS_ERROR", "CONNECTION_FAILED"]
    start_time: Text = None
    end_time: Text = None
    id: Text = None
    user: Text = None
    user_id: Text = None
    device_id: Text = None
    client_ip: Text = None
    connector: Text = None
    connector_id: Text = None
    resource_ip: Text = None
    resource_port: Text = None
    resource_domain: Text = None
    resource_id: Text = None
    protocol: Text = None
    bytes_transferred: Text = None
    bytes_received: Text = None
    remote_network: Text = None
    remote_network_id: Text = None
    applied_rule: Text = None
    relays: str | UnsetType | None = UNSET
    relay_ips: Text = None
    relay_ports: Text = None
    service_account: Text = None
    service_account_id: Text = None
    service_account_key: Text = None
    service_account_key_id: Text = None


class _AuthenticationUser(Struct, gc=False):
    id: Text = None
    email: Text = None
    policy: _Named | None = None
    device: _Named | None = None
    resource: _Named | None = None


class _Provider(Struct, gc=False):
    name: Text = None
    issuer: Text = None
    error: Text = None
    error_description: Text = None


class _Posture(Struct, gc=False):
    failed: list[str] | None = None


class _Mfa(Struct, gc=False):
    method: Text = None
    actor: _User | None = None


class _Action(Struct, gc=False):
    type: Literal["client_login", "admin_login", "reauth", "mfa_setup", "mfa_reset"]
    user: _AuthenticationUser
    result: Literal["success", "failure"] | None = None
    reason: Text = None
    client_ip: Text = None
    idp: _Provider | None = None
    posture: _Posture | None = None
    mfa: _Mfa | None = None


class AuthenticationEvent(Struct, gc=False):
    """A sign-in or MFA event, without its envelope."""

    time: str
    action: _Action
    version: Amount = None
    id: Text = None


class _AuthenticationEnvelope(Struct, gc=False):
    event_type: Literal["authentication"]
    event: AuthenticationEvent


# Every way in which resolvers, operating systems and gateways say that a name did not resolve.  "dns" alone may be part of a host's name.
_DNS = re.compile(
    r"nxdomain|servfail|no such host|host not found|unknown host|could not resolve|can(?:'|no)t resolve|unable to resolve|failed to resolve"
    r"|not be resolved|not resolved?\b|name_not_resolved|name resolution|name or service not known|nodename nor servname"
    r"|getaddrinfo|enotfound|eai_(?:noname|again|nodata|fail)|no address associated|lookup address information|non-?existent domain"
    r"|domain name not found|server misbehaving|\blookup \S{1,255} on \S{1,255}:53\b|dns[ _-]?(?:error|fail|lookup|resol|time|query|problem)"
    r"|(?<![\w.-])dns(?![\w.-]|:\d)(?=.{0,80}(?:error|fail|time))|(?:error|fail).{0,80}(?<![\w.-])dns(?![\w.-]|:\d)",
    re.IGNORECASE | re.DOTALL,
)
_TUNNEL = {"direct": PEER_TO_PEER, "relay": RELAY, "relayed": RELAY}


def _closed(kind: Any) -> Any:
    """The same type with structs that refuse unknown fields: what it takes is all text that was looked at, and no deeper than its own nesting."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        hints = get_type_hints(kind, include_extras=True)
        fields = [
            (f.name, _closed(hints[f.name]), *(() if f.required else (f.default,)))
            for f in msgspec.structs.fields(kind)
        ]
        return msgspec.defstruct(f"Closed{kind.__name__}", fields, forbid_unknown_fields=True, gc=False)
    if get_origin(kind) is list:
        return list[_closed(get_args(kind)[0])]  # type: ignore[misc]
    if kind != Text and type(None) in get_args(kind):
        return Union[tuple(map(_closed, get_args(kind)))]  # noqa: UP007 - from a computed tuple
    return kind


_any = msgspec.json.Decoder()
_closed_connector_log = msgspec.json.Decoder(_closed(ConnectorLog))
_closed_network_envelope = msgspec.json.Decoder(_closed(_NetworkEnvelope))
_closed_authentication = msgspec.json.Decoder(_closed(AuthenticationEvent))
_closed_authentication_envelope = msgspec.json.Decoder(_closed(_AuthenticationEnvelope))
# The library learns a type at its first use.  Two threads that use one first at the same moment would meet a half-known one, and crash.
for _dialect in (ConnectorLog, NetworkEvent, AuthenticationEvent, CsvRow):
    msgspec.json.Decoder(_dialect)
# By id, as people mostly come with both: the e-mail as written, and the principal.
_people: dict[str | None, tuple[str | None, Principal]] = {}


def decode_connections(records: Iterable[Any]) -> list[Connection | Rejected]:
    """One outcome per record (`value`, and its own `timestamp` in UTC ms) of the connections topic."""
    decode = _closed_connector_log.decode
    outcomes: list[Connection | Rejected] = []
    say = outcomes.append
    for record in records:
        value, timestamp = record.value, record.timestamp
        if value is None:
            say(Rejected(Reason.NOT_JSON))
            continue
        try:
            if len(value) <= MAX_VALUE_BYTES:
                try:
                    log = decode(value)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    pass
                else:
                    say(_of_log(log, timestamp))
                    continue
            say(decode_connection(value, timestamp))
        except Rejected as rejected:
            say(rejected)
    return outcomes


def decode_authentications(records: Iterable[Any], *, who: bool = True) -> list[Authentication | Rejected]:
    """One outcome per record of the authentications topic.

    Without `who` it may be UNASKED: looking people up among thousands is a fifth of the work.
    """
    bare, wrapped = _closed_authentication.decode, _closed_authentication_envelope.decode
    outcomes: list[Authentication | Rejected] = []
    say = outcomes.append
    for record in records:
        value, timestamp = record.value, record.timestamp
        if value is None:
            say(Rejected(Reason.NOT_JSON))
            continue
        try:
            if len(value) <= MAX_VALUE_BYTES:
                try:
                    if value.startswith(b'{"event_type"'):
                        event, path, form = wrapped(value).event, "$.event", ENVELOPED
                    else:
                        event, path, form = bare(value), "$", BARE
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    pass
                else:
                    say(_of_authentication(event, timestamp, path, form, who))
                    continue
            say(decode_authentication(value, timestamp))
        except Rejected as rejected:
            say(rejected)
    return outcomes


def decode_connection(value: bytes, timestamp: int) -> Connection:
    """An event of the connections topic; `timestamp` is the record's own, UTC ms.  Raises Rejected."""
    _admit(value)
    text = value.removeprefix(ANALYTICS)
    try:
        if text.startswith(b'{"event_type":"network'):
            return _of_network(_closed_network_envelope.decode(text).event, timestamp, "$.event")
        return _of_log(_closed_connector_log.decode(text), timestamp)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    event = _decode_any(value, timestamp)
    if not isinstance(event, Connection):
        raise Rejected(Reason.WRONG_TOPIC)
    return event


def decode_authentication(value: bytes, timestamp: int) -> Authentication:
    """An event of the authentications topic.  Raises Rejected."""
    _admit(value)
    event = _decode_any(value, timestamp)
    if not isinstance(event, Authentication):
        raise Rejected(Reason.WRONG_TOPIC)
    return event


def document_of(value: bytes) -> Any:
    """The JSON in a record.  Numbers beyond what readers hold become texts: an unknown field must not make an event none.  Raises ValueError."""
    value = value.removeprefix(ANALYTICS)
    try:
        return _any.decode(value)
    except msgspec.ValidationError:  # a number is out of range
        document = json.loads(value, parse_int=_whole, parse_float=_fraction, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode()  # half characters are refused, as by the fast decoder
        return document
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def _whole(text: str) -> int | str:
    return int(text) if len(text) < 400 else text


def _fraction(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def authentication_document(value: bytes) -> dict[str, Any]:
    """What leaves the product for a valid authentication event: the original with all its fields, known or not, in the envelope.

    Only a failure's `reason` is made one of the fixed list; any other text stays beside it as `detail`.
    """
    document = document_of(value)
    event = document["event"] if _enveloped(document) else document
    action = event["action"]
    if action.get("result") == "failure" and action.get("reason") not in FAILURE_REASONS:
        text = action.get("reason")
        action = {**action, "reason": "unknown"}
        if text:
            action["detail"] = text
        event = {**event, "action": action}
    return {"event_type": "authentication", "event": event}


def looks_like_authentication(value: bytes) -> bool:
    """Which topic a line belongs to.  A guess for senders: the judgement is the worker's.  Never raises."""
    if b'"action"' not in value:
        return False
    try:
        document = document_of(value)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict):
        return False
    if _enveloped(document):
        return bool(document["event_type"] == "authentication")
    return "action" in document and "status" not in document and not _known(document.get("event_type"), STATES)


def user_key(value: bytes) -> bytes | None:
    """The Kafka key of a line: user id, else e-mail, else service account id; None if it has none of them.  Never raises."""
    try:
        document = document_of(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    event = document["event"] if _enveloped(document) else document
    action = event.get("action")
    user = (action if isinstance(action, dict) else event).get("user")
    account = event.get("service_account")
    if isinstance(user, dict):
        candidates = [user.get("id"), user.get("email")]
    else:
        candidates = [event.get("user_id"), user]
    candidates += [account.get("id")] if isinstance(account, dict) else [event.get("service_account_id")]
    for text in candidates:
        if isinstance(text, str) and text:
            return text.encode("utf-8", "replace")
    return None


def _admit(value: bytes) -> None:
    if len(value) > MAX_VALUE_BYTES:
        raise Rejected(Reason.TOO_LARGE)
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError:
            raise Rejected(Reason.NOT_UTF8) from None
    # Brackets inside texts count here too, so this only says whether a closer look is needed.
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise Rejected(Reason.TOO_DEEP)


# Possessive, and content with a text that never ends: tried again from each of its quotes, a value would take minutes.
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|[\[{]|[\]}]', re.DOTALL)


def _depth(value: bytes) -> int:
    deepest = depth = 0
    for token in _TOKENS.finditer(value):
        sign = token[0]
        if sign in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif sign in (b"}", b"]"):
            depth -= 1
    return deepest


def _enveloped(document: dict[str, Any]) -> bool:
    return document.get("event_type") in ("network_access", "network", "authentication") and isinstance(
        document.get("event"), dict
    )


def _decode_any(value: bytes, timestamp: int) -> Connection | Authentication:
    try:
        document = document_of(value)
    except (ValueError, RecursionError):
        raise Rejected(Reason.NOT_JSON) from None
    if not isinstance(document, dict):
        raise Rejected(Reason.UNKNOWN_TYPE)
    if _known(document.get("event_type"), STATES):
        return _of_log(_fields(document, ConnectorLog, "$"), timestamp)
    if isinstance(document.get("event_type"), str) and _enveloped(document):
        if document["event_type"] == "authentication":
            return _of_authentication(_fields(document["event"], AuthenticationEvent, "$.event"), timestamp, "$.event")
        return _of_network(_fields(document["event"], NetworkEvent, "$.event"), timestamp, "$.event")
    if "status" in document and "time" in document:
        return _of_network(_fields(document, NetworkEvent, "$"), timestamp, "$")
    if "action" in document:
        return _of_authentication(_fields(document, AuthenticationEvent, "$"), timestamp, "$")
    if "start_time" in document and "status" in document and "user" in document:
        return _of_csv(_fields(document, CsvRow, "$"), timestamp)
    raise Rejected(Reason.UNKNOWN_TYPE)


def _known(word: Any, words: frozenset[str]) -> bool:
    return isinstance(word, str) and word in words


def _fields(document: dict[str, Any], dialect: Any, path: str) -> Any:
    try:
        return msgspec.convert(document, dialect, strict=True)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), path) from None


_MISSING = re.compile(r"Object missing required field `([^`]+)`")


def _refusal(message: str, path: str) -> Rejected:
    """The reason and the path behind one of the validator's sentences."""
    said, _, at = message.partition(" - at `")
    where = path + at.rstrip("`").removeprefix("$")
    missing = _MISSING.match(said)
    if missing is not None:
        return Rejected(Reason.MISSING_FIELD, f"{where}.{missing[1]}")
    if said.startswith(("Expected `int` >=", "Expected `int` <=")) or "out of range" in said:
        return Rejected(Reason.OUT_OF_RANGE, where)
    if said.endswith("got `null`"):
        return Rejected(Reason.MISSING_FIELD, where)
    return Rejected(Reason.WRONG_TYPE, where)


def _principal(user: _User | None, account: _ServiceAccount | None, path: str) -> Principal:
    if user is not None and (user.id or user.email):
        return _person(user.id, user.email)
    if account is not None and account.id:
        return Principal(SERVICE_ACCOUNT, account.id, "")
    raise Rejected(Reason.MISSING_FIELD, f"{path}.user")


def _person(id_: Text, email: Text) -> Principal:
    known = _people.get(id_)
    if known is not None and known[0] == email:
        return known[1]
    if len(_people) >= CACHE_SIZE:
        _people.clear()
    principal = Principal(USER, id_ or "", (email or "").casefold())
    _people[id_] = email, principal
    return principal


def _instant(text: Text, timestamp: int, path: str) -> int:
    if not text:
        raise Rejected(Reason.MISSING_FIELD, path)
    try:
        time = times.parse(text)
    except (ValueError, OverflowError):
        raise Rejected(Reason.BAD_TIME, path) from None
    if not times.acceptable(time, timestamp):
        raise Rejected(Reason.BAD_TIME, path)
    return time


def _address(text: Text, path: str) -> str:
    if not text:
        return ""
    try:
        return addresses.canonical(text)
    except ValueError:
        raise Rejected(Reason.BAD_ADDRESS, path) from None


def _outcome(state: str, message: Text) -> str:
    if state == "closed_connection":
        return SUCCESS
    if state == "established_connection":
        return ESTABLISHED
    if state == "failed_to_connect" and message and _DNS.search(message):
        return FAILED_DNS
    return FAILED_OTHER


def _path(tunnel: Text, relays: list[_Relay] | None) -> str:
    known = _TUNNEL.get(tunnel) if tunnel else None
    if known is not None:
        return known
    if relays is None:
        return ""
    return RELAY if relays else PEER_TO_PEER


_addresses = addresses.cache
# Before an event's own id.  Every other sign is another word, so that ids of different kinds never meet.
OWN = "own "
_NO_LOG_CONNECTION = _LogConnection()
_NO_NETWORK_CONNECTION = _NetworkConnection()


# What became of it (None: the message decides), and the sign that makes the connection's id the event's own.
_STATES: dict[str, tuple[str | None, str]] = {
    "closed_connection": (SUCCESS, "closed "),
    "established_connection": (ESTABLISHED, "established "),
    "denied_access": (FAILED_OTHER, "denied "),
    "failed_to_connect": (None, "failed "),
}
_EARLIEST_MS, _AHEAD_MS, _parse = times.EARLIEST_MS, times.AHEAD_MS, times.parse


def _of_log(log: ConnectorLog, timestamp: int) -> Connection:
    """Once per event of the busiest dialect: the caches are asked here, the functions behind them only on a miss."""
    user, connection, device = log.user, log.connection or _NO_LOG_CONNECTION, log.device
    if user is not None and (known := _people.get(user.id)) is not None and known[0] == user.email:
        principal = known[1]
    else:
        principal = _principal(user, log.service_account, "$")
    time = log.timestamp
    if time < _EARLIEST_MS or time > timestamp + _AHEAD_MS:
        raise Rejected(Reason.BAD_TIME, "$.timestamp")
    address = connection.client_ip or ""
    if address:
        address = _addresses.get(address) or _address(address, "$.connection.client_ip")
    outcome, sign = _STATES[log.event_type]
    tunnel, own, id_ = connection.tunnel_path, log.id, connection.id
    return Connection(
        principal,
        time,
        outcome or _outcome(log.event_type, connection.error_message),
        RELAY if tunnel == "relayed" else _path(tunnel, log.relays),
        connection.tx or 0,
        connection.rx or 0,
        address,
        device.id or "" if device is not None else "",
        OWN + own if own else sign + id_ if id_ else "",
    )


def _of_network(event: NetworkEvent, timestamp: int, path: str) -> Connection:
    connection = event.connection or _NO_NETWORK_CONNECTION
    return Connection(
        principal=_principal(event.user, event.service_account, path),
        time=_instant(event.time, timestamp, f"{path}.time"),
        outcome=_outcome(event.status, connection.error_message),
        path=_path(connection.tunnel_path, event.relays),
        bytes_transferred=connection.bytes_transferred or 0,
        bytes_received=connection.bytes_received or 0,
        client_ip=_address(connection.client_ip, f"{path}.connection.client_ip"),
        device=(event.device.id or "") if event.device is not None else "",
        id=OWN + event.id if event.id else "",
    )


_CSV_OUTCOME = {"NORMAL": SUCCESS, "DNS_ERROR": FAILED_DNS, "CONNECTION_FAILED": FAILED_OTHER}


def _of_csv(row: CsvRow, timestamp: int) -> Connection:
    if row.user or row.user_id:
        principal = _person(row.user_id, row.user)
    elif row.service_account_id:
        principal = Principal(SERVICE_ACCOUNT, row.service_account_id, "")
    else:
        raise Rejected(Reason.MISSING_FIELD, "$.user")
    end = bool(row.end_time)
    relays = None if row.relays is UNSET else row.relays
    return Connection(
        principal=principal,
        time=_instant(row.end_time if end else row.start_time, timestamp, "$.end_time" if end else "$.start_time"),
        outcome=_CSV_OUTCOME[row.status],
        path="" if relays is None else RELAY if relays else PEER_TO_PEER,
        bytes_transferred=_amount(row.bytes_transferred, "$.bytes_transferred"),
        bytes_received=_amount(row.bytes_received, "$.bytes_received"),
        client_ip=_address(row.client_ip, "$.client_ip"),
        device=row.device_id or "",
        id=OWN + row.id if row.id else "",
    )


_AMOUNT = re.compile(r"-?\d+", re.ASCII)


def _amount(text: Text, path: str) -> int:
    if not text:
        return 0
    if not _AMOUNT.fullmatch(text):
        raise Rejected(Reason.WRONG_TYPE, path)
    digits = text.lstrip("-0") or "0"
    if len(digits) > len(str(MAX_INTEGER)) or int(digits) > MAX_INTEGER or (text[0] == "-" and digits != "0"):
        raise Rejected(Reason.OUT_OF_RANGE, path)
    return int(digits)


def _of_authentication(
    event: AuthenticationEvent, timestamp: int, path: str, form: str = "", who: bool = True
) -> Authentication:
    """Once per sign-in: the caches are asked here, the functions behind them only on a miss."""
    action, own = event.action, event.id
    user, address = action.user, action.client_ip
    id_, email = user.id, user.email
    if not id_ and not email:
        raise Rejected(Reason.MISSING_FIELD, f"{path}.action.user")
    if not who:
        principal = UNASKED
    elif (known := _people.get(id_)) is not None and known[0] == email:
        principal = known[1]
    else:
        principal = _person(id_, email)
    if address:
        try:
            inet_pton(AF_INET, address)  # nearly all of them, and quicker than a look into a large table
        except (OSError, ValueError):
            _address(address, f"{path}.action.client_ip")
    try:
        time = _parse(event.time)
    except (ValueError, OverflowError):
        time = _instant(event.time, timestamp, f"{path}.time")
    if not _EARLIEST_MS <= time <= timestamp + _AHEAD_MS:
        raise Rejected(Reason.BAD_TIME, f"{path}.time")
    result, reason = action.result or "success", ""
    if result == "failure":
        reason = action.reason or ""
        if reason not in FAILURE_REASONS:
            reason, form = "unknown", ""
    return Authentication(principal, time, action.type, result, reason, OWN + own if own else "", form)
