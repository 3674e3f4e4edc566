"""A login provider on this machine: the mock from the package index behind a door that holds it to PKCE and can make it lie."""

from __future__ import annotations

import io
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import oidc_provider_mock
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import RSAKey
from oidc_provider_mock._server import _threaded_server

CLIENT, SECRET = "activity", "s3cret with spaces & signs"


@dataclass
class Provider:
    """`twist` changes what is signed, `sign` who signs it, `down` answers nothing but 503, `description` and `userinfo` say other things; `asked` is every authorization asked for."""

    url: str = ""
    twist: dict = field(default_factory=dict)
    sign: str = "own"
    down: bool = False
    userinfo: dict = field(default_factory=dict)
    description: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def __post_init__(self):
        self.key = RSAKey.generate_key(2048, {"kid": "a"})
        self.foreign = RSAKey.generate_key(2048, {"kid": "a"})
        self._challenges = {}
        self._app = oidc_provider_mock.app(require_nonce=True, user_claims=[])

    def reset(self):
        self.twist, self.sign, self.down, self.userinfo, self.description = {}, "own", False, {}, {}

    def user(self, sub, **claims):
        """Somebody the provider knows."""
        body = json.dumps(claims).encode()
        environ = {"REQUEST_METHOD": "PUT", "PATH_INFO": f"/users/{sub}", "CONTENT_TYPE": "application/json"}
        assert self._call(environ, body)[0].startswith("2")
        return sub

    def new_keys(self, kid):
        self.key = RSAKey.generate_key(2048, {"kid": kid})

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, answer = self._answer(environ, body)
        start_response(
            status,
            [*((k, v) for k, v in headers if k.lower() != "content-length"), ("Content-Length", str(len(answer)))],
        )
        return [answer]

    def _answer(self, environ, body):
        path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
        if self.down:
            return "503 Away", [("Content-Type", "text/html")], b"<h1>away</h1>"
        if path == "/.well-known/openid-configuration":
            return _json(json.loads(self._call(environ, body)[2]) | self.description)
        if path == "/jwks":
            return _json({"keys": [self.key.as_dict(private=False)]})
        if path == "/userinfo" and self.userinfo:
            return _json(self.userinfo)
        if path == "/oauth2/authorize":
            status, headers, answer = self._call(environ, body)
            where = dict(headers).get("Location", "")
            code = parse_qs(urlsplit(where).query).get("code")
            if code:
                assert query["code_challenge_method"] == ["S256"]
                self._challenges[code[0]] = query["code_challenge"][0]
                self.asked.append({k: v[0] for k, v in query.items()})
            return status, headers, answer
        if path == "/oauth2/token":
            sent = {k: v[0] for k, v in parse_qs(body.decode()).items()}
            challenge = self._challenges.pop(sent.get("code"), None)
            if challenge is None or create_s256_code_challenge(sent.get("code_verifier", "")) != challenge:
                return _json({"error": "invalid_grant"}, "400 Bad Request")
            status, headers, answer = self._call(environ, body)
            return (
                _json(self._twisted(json.loads(answer), environ))
                if status.startswith("200")
                else (status, headers, answer)
            )
        return self._call(environ, body)

    def _twisted(self, token, environ):
        import base64

        part = token["id_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        claims |= self.twist
        claims = {k: v for k, v in claims.items() if v is not None}
        if self.sign == "nobody":
            head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
            middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
            return token | {"id_token": f"{head}.{middle}."}
        if self.sign == "public key as a secret":
            from joserfc.jwk import OctKey

            key = OctKey.import_key(SECRET + "-" * 32)
            return token | {"id_token": jwt.encode({"alg": "HS256", "kid": "a"}, claims, key, algorithms=["HS256"])}
        key = self.foreign if self.sign == "a stranger" else self.key
        header = {"alg": "RS256", "kid": key.kid}
        return token | {"id_token": jwt.encode(header, claims, key)}

    def _call(self, environ, body):
        got = {}

        def start(status, headers, *_):
            got["head"] = status, headers

        base = {
            "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False,
            "wsgi.run_once": False, "wsgi.version": (1, 0),
        }  # fmt: skip
        environ = base | environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        answer = b"".join(self._app.wsgi_app(environ, start))
        return (*got["head"], answer)


def _json(value, status="200 OK"):
    return status, [("Content-Type", "application/json")], json.dumps(value).encode()


@contextmanager
def running():
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the mock's own library wants it on plain HTTP
    provider = Provider()
    with _threaded_server(provider) as server:
        provider.url = f"http://localhost:{server.server_port}"
        yield provider
