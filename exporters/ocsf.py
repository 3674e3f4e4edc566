"""Events in the Open Cybersecurity Schema Framework 1.8: sign-ins as Authentication (3002), connections as Network Activity (4001).  Pure.

A field that has a place in the schema goes there; the few that have none stand under `unmapped` by their own names.  `time` is UTC milliseconds.
Of a connection, the person's device is the source and the Resource the destination: `bytes_out` are those to the Resource.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from exporters.sync.envelopes import AUTHENTICATION, dumps, network_document
from pipeline.model import addresses, times
from pipeline.model.dialects import authentication_document
from pipeline.model.events import ESTABLISHED, SERVICE_ACCOUNT, SUCCESS, Connection

VERSION = "1.8.0"
PRODUCT = {"name": "User Activity", "uid": "user-activity"}
_EMAIL = re.compile(r"^[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+$")

_OTHER = 99
_LOGON = {"client_login": "Client", "admin_login": "Admin Console", "reauth": "Resource"}
_FACTORS = {"totp": (7, "OTP"), "webauthn": (10, "WebAuthn"), "security_key": (9, "U2F")}
_NETWORK = {
    "established_connection": (1, "Open"),
    "closed_connection": (2, "Close"),
    "failed_to_connect": (4, "Fail"),
    "denied_access": (5, "Refuse"),
}


def line_of(kind: str) -> Callable[[bytes, Any], bytes]:
    if kind == AUTHENTICATION:
        return lambda value, _event: dumps(authentication(authentication_document(value)))
    return lambda value, event: dumps(network_activity(value, event))


def authentication(document: dict[str, Any]) -> dict[str, Any]:
    """A valid sign-in or MFA event, in its envelope as it leaves, as OCSF class 3002."""
    event = document["event"]
    action = event["action"]
    user, resource = action["user"], action["user"].get("resource") or {}
    type_ = action["type"]
    logon = type_ in _LOGON
    failed = action.get("result") == "failure"
    out: dict[str, Any] = {
        **_head(3, "Identity & Access Management", 3002, "Authentication", *((1, "Logon") if logon else (_OTHER, type_))),
        **_status(not failed, action["reason"] if failed else "", action.get("detail") or _posture(action)),
        "time": times.parse(event["time"]),
        "metadata": _metadata(event, type_, "authentication"),
        "user": _user(user.get("id") or "", user.get("email") or "", policy=user.get("policy")),
        "service": _named(resource) or {"name": _LOGON.get(type_, "MFA")},
        "is_remote": True,
    }  # fmt: skip
    if endpoint := _endpoint(action.get("client_ip")):
        out["src_endpoint"] = endpoint
    device = _named(user.get("device") or {})
    if device:
        out["device"] = {**device, "type_id": 0}
    mfa, idp = action.get("mfa") or {}, action.get("idp") or {}
    if mfa.get("method"):
        number, name = _FACTORS.get(mfa["method"], (_OTHER, mfa["method"]))
        out["auth_factors"] = [{"factor_type_id": number, "factor_type": name}]
        out["is_mfa"] = True
    actor = mfa.get("actor") or {}
    who: dict[str, Any] = {}
    if actor.get("id") or actor.get("email"):
        who["user"] = _user(actor.get("id") or "", actor.get("email") or "")
    if idp.get("name") and who:
        who["idp"] = {"name": idp["name"]}
    if who:
        out["actor"] = who
    unmapped = {n: action[n] for n in ("idp", "posture") if action.get(n)}
    if unmapped:
        out["unmapped"] = unmapped
    return out


def network_activity(value: bytes, event: Connection) -> dict[str, Any]:
    """A valid connection event as OCSF class 4001."""
    document = network_document(value, event)["event"]
    connection, resource = document.get("connection") or {}, document.get("resource") or {}
    account = document.get("service_account") or {}
    succeeded = event.outcome in (SUCCESS, ESTABLISHED)
    message = connection.get("error_message") or ""
    who = _user(event.principal.id, (document.get("user") or {}).get("email") or "")
    if event.principal.kind == SERVICE_ACCOUNT:
        who = {
            "uid": event.principal.id,
            "name": account.get("name") or event.principal.id,
            "type_id": 4,
            "type": "Service",
        }
    out: dict[str, Any] = {
        **_head(4, "Network Activity", 4001, "Network Activity", *_NETWORK[document["status"]]),
        **_status(succeeded, "" if succeeded else event.outcome, message),
        "time": event.time,
        "metadata": _metadata(document, document["status"], "network_access"),
        "actor": {"user": who},
        "dst_endpoint": _destination(resource),
        "connection_info": _connection_info(connection),
    }
    if endpoint := _endpoint(event.client_ip):
        out["src_endpoint"] = endpoint
    if event.device:
        out["device"] = {"uid": event.device, "type_id": 0}
    if event.outcome == SUCCESS:
        received, sent = event.bytes_received, event.bytes_transferred
        out["traffic"] = {"bytes_in": received, "bytes_out": sent, "bytes": received + sent}
    unmapped = {n: document[n] for n in ("connector", "remote_network", "relays", "location") if document.get(n)}
    if connection.get("tunnel_path"):
        unmapped["tunnel_path"] = connection["tunnel_path"]
    if resource.get("applied_rule"):
        unmapped["applied_rule"] = resource["applied_rule"]
    if unmapped:
        out["unmapped"] = unmapped
    return out


def _head(category: int, category_name: str, class_: int, class_name: str, activity: int, name: str) -> dict[str, Any]:
    return {
        "category_uid": category,
        "category_name": category_name,
        "class_uid": class_,
        "class_name": class_name,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": class_ * 100 + activity,
        "type_name": f"{class_name}: {name}",
    }


def _status(succeeded: bool, code: str, detail: str) -> dict[str, Any]:
    out: dict[str, Any] = {
        "severity_id": 1 if succeeded else 2,
        "severity": "Informational" if succeeded else "Low",
        "status_id": 1 if succeeded else 2,
        "status": "Success" if succeeded else "Failure",
    }
    if code:
        out["status_code"] = code
    if detail:
        out["status_detail"] = detail
    return out


def _posture(action: dict[str, Any]) -> str:
    failed = (action.get("posture") or {}).get("failed") or []
    error = (action.get("idp") or {}).get("error_description") or (action.get("idp") or {}).get("error") or ""
    return ", ".join(failed) or error


def _metadata(document: dict[str, Any], code: str, log: str) -> dict[str, Any]:
    out: dict[str, Any] = {
        "version": VERSION,
        "product": PRODUCT,
        "profiles": ["host"],
        "event_code": code,
        "log_name": log,
    }
    if document.get("id"):
        out["uid"] = document["id"]
    if document.get("time"):
        out["original_time"] = document["time"]
    return out


def _user(id_: str, email: str, policy: Any = None) -> dict[str, Any]:
    out: dict[str, Any] = {"name": email or id_, "type_id": 1, "type": "User"}
    if id_:
        out["uid"] = id_
    if email and _EMAIL.match(email):
        out["email_addr"] = email
    if isinstance(policy, dict) and (group := _named(policy)):
        out["groups"] = [{**group, "type": "policy"}]
    return out


def _named(thing: dict[str, Any]) -> dict[str, Any]:
    out = {}
    if thing.get("name"):
        out["name"] = thing["name"]
    if thing.get("id"):
        out["uid"] = thing["id"]
    return out


def _endpoint(text: str | None) -> dict[str, Any]:
    address = addresses.canonical(text) if text else ""
    return {"ip": address} if address else {}


def _destination(resource: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    try:
        out |= _endpoint(resource.get("ip"))
    except ValueError:
        pass  # the Resource's address is not judged at the way in
    if resource.get("address"):
        out["name"] = resource["address"]
    if resource.get("id"):
        out["uid"] = resource["id"]
    if isinstance(resource.get("port"), int) and 0 <= resource["port"] <= 65_535:
        out["port"] = resource["port"]
    if not out.keys() & {"ip", "name", "uid"}:
        out["name"] = "unknown"
    return out


def _connection_info(connection: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"direction_id": 2, "direction": "Outbound"}
    if connection.get("protocol"):
        out["protocol_name"] = str(connection["protocol"]).lower()
    if connection.get("id"):
        out["uid"] = connection["id"]
    return out
