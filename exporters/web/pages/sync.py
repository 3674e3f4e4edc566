"""Settings → S3 sync: where events are delivered, how far each delivery is, setting one up with a look at the bucket first."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from exporters.mail.mailer import recipients
from exporters.service import Service
from exporters.sync.destinations import NAME, Destination
from exporters.web import api_destinations
from exporters.web.api_destinations import Checked
from exporters.web.forms import fields
from exporters.web.gate import person_of
from exporters.web.pages.reports import Form
from exporters.web.views import Views
from pipeline.errors import RequestError, Unavailable

PAGE = "/settings/sync"
KINDS = {"authentication": "Authentication events", "network_access": "Connection events"}
CREDENTIALS = {
    "ambient": "What this machine is given",
    "role": "A role in the bucket owner's account",
    "web_identity": "A role, with a token of the cluster (OIDC)",
    "file": "A key pair in a file of the machine",
    "environment": "A key pair in variables of the service",
}
ENCRYPTION = {"bucket default": "As the bucket does it", "sse-s3": "SSE-S3", "sse-kms": "SSE-KMS"}
COMPRESSION = ("gzip", "zstd", "none")
FIRST = {
    "region": "us-east-1",
    "authentication": "yes",
    "credentials": "ambient",
    "encryption": "bucket default",
    "format": "vendor",
    "naming": "offsets",
    "compression": "gzip",
    "age_seconds": "300",
    "start": "earliest",
}

Fields = Annotated[dict[str, str], Depends(fields)]


def destination_of(form: Form) -> Destination | None:
    """What the form asks; None, with faults, if it cannot be."""
    if not re.fullmatch(NAME, form["name"].strip()):
        form.faults["name"] = "Give a name of a-z, 0-9 and -, at most 40."
    given = {k: v.strip() for k, v in form.values.items() if v.strip()}
    target: dict[str, Any] = {k: given[k] for k in _TARGET if k in given}
    target |= {"kind": "s3", "path_style": form["path_style"] == "yes", "credentials": _credentials(given)}
    content: dict[str, Any] = {k: given[k] for k in _DELIVERY if k in given} | {"target": target}
    content["kinds"] = [kind for kind in KINDS if form[kind] == "yes"]
    content["mail"] = recipients(form["mail"])
    if "webhook" in given:
        content["webhook"] = {"url": given["webhook"], "secret_file": given.get("webhook_secret_file", "")}
    try:
        wanted = Destination.model_validate(content)
    except ValidationError as error:
        for fault in error.errors(include_input=False):
            names = [str(x) for x in fault["loc"] if str(x) not in ("target", "s3", "credentials")]
            name = next(
                (n for n in reversed(names) if n in _KNOWN),
                "credentials" if "credentials" in fault["loc"] else "bucket",
            )
            form.faults.setdefault(name, _MORE.get(name) or fault["msg"].removeprefix("Value error, "))
        return None
    return None if form.faults else wanted


_TARGET = ("bucket", "prefix", "region", "endpoint", "expected_owner", "encryption", "kms_key")
_DELIVERY = ("format", "naming", "compression", "age_seconds", "start")
_KNOWN = {*_TARGET, *_DELIVERY, "kinds", "mail", "role_arn", "external_id", "token_file", "webhook"}
_MORE = {
    "bucket": "Give the bucket's name.",
    "kinds": "Choose what is delivered.",
    "role_arn": "Give the role's ARN: arn:aws:iam::123456789012:role/name.",
    "external_id": "Give the external id that the role asks for.",
    "expected_owner": "Give the twelve digits of the account, or nothing.",
    "endpoint": "Give an http or https address, or nothing for the vendor's.",
}


def _credentials(given: dict[str, str]) -> dict[str, Any]:
    match given.get("credentials"):
        case "role":
            return {"kind": "role", "role_arn": given.get("role_arn", ""), "external_id": given.get("external_id", "")}
        case "web_identity":
            return {
                "kind": "web_identity",
                "role_arn": given.get("role_arn", ""),
                "token_file": given.get("token_file", ""),
            }
        case "file":
            return {"kind": "keys", "file": given.get("keys_file", "")}
        case "environment":
            return {"kind": "keys", "environment": given.get("keys_environment", "")}
    return {"kind": "ambient"}


def values_of(name: str, destination: Destination) -> dict[str, str]:
    """A destination as the form has it."""
    content = destination.model_dump(mode="json")
    target = content["target"]
    values = {"name": name} | {k: target.get(k) for k in _TARGET} | {k: content[k] for k in _DELIVERY}
    access = target.get("credentials", {})
    kind = access.get("kind")
    values["credentials"] = ("file" if access.get("file") else "environment") if kind == "keys" else kind
    values |= {k: access.get(k) for k in ("role_arn", "external_id", "token_file")}
    values |= {"keys_file": access.get("file"), "keys_environment": access.get("environment")}
    values |= dict.fromkeys(content["kinds"], "yes")
    values |= {"path_style": "yes" if target.get("path_style") else "", "mail": ", ".join(content["mail"])}
    if content["webhook"]:
        values |= {"webhook": content["webhook"]["url"], "webhook_secret_file": content["webhook"]["secret_file"]}
    values["age_seconds"] = f"{destination.age_seconds:g}"
    return {k: str(v) for k, v in values.items() if v}


def routes(service: Service, views: Views) -> APIRouter:
    pages = APIRouter(include_in_schema=False)

    def shown() -> dict[str, Any]:
        try:
            names = sorted(api_destinations.known(service))
            return {"deliveries": [api_destinations.delivery(service, n) for n in names], "away": ""}
        except Unavailable as error:
            return {"deliveries": [], "away": str(error)}

    def whole(
        request: Request, form: Form, *, status: int = 200, problem: str = "", checked: Checked | None = None
    ) -> Response:
        return views.page(
            request,
            "sync.html",
            status=status,
            form=form,
            problem=problem,
            checked=checked,
            kinds=KINDS,
            credentials=CREDENTIALS,
            encryption=ENCRYPTION,
            compression=COMPRESSION,
            **shown(),
        )

    @pages.get(PAGE)
    def page(request: Request, edit: str = "") -> Response:
        found = api_destinations.known(service).get(edit) if edit else None
        return whole(request, Form(values_of(edit, found) if found else dict(FIRST)))

    @pages.get(f"{PAGE}/list")
    def table(request: Request) -> Response:
        return views.page(request, "_sync.html", **shown())

    @pages.post(PAGE)
    def make(request: Request, sent: Fields) -> Response:
        form = Form(sent)
        wanted, name = destination_of(form), form["name"].strip()
        if wanted is None:
            return whole(request, form, status=422, problem="Please correct the marked fields.")
        request.scope["detail"] = f"destination {name} to {wanted.target.place}"
        try:
            if form["do"] != "save":
                return whole(request, form, checked=api_destinations.checked(service, name, wanted))
            api_destinations.put(service, name, wanted)
        except RequestError as error:
            return whole(request, form, status=error.status, problem=str(error))
        except Unavailable as error:
            return whole(request, form, status=503, problem=str(error))
        return RedirectResponse(f"{PAGE}#deliveries", 303)

    @pages.post(f"{PAGE}/{{name}}/pause")
    def pause(request: Request, name: str) -> Response:
        service.desk.pause(api_destinations.delivery(service, name).name, by=person_of(request).name)
        return RedirectResponse(f"{PAGE}#deliveries", 303)

    @pages.post(f"{PAGE}/{{name}}/resume")
    def resume(name: str) -> Response:
        service.desk.resume(api_destinations.delivery(service, name).name)
        return RedirectResponse(f"{PAGE}#deliveries", 303)

    @pages.post(f"{PAGE}/{{name}}/delete")
    def delete(name: str) -> Response:
        api_destinations.remove(service, name)
        return RedirectResponse(f"{PAGE}#deliveries", 303)

    return pages
