"""A stub of STS that insists on what a real one insists on: the role must exist, the external id must be its own, the caller must be known."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

ROLE = "arn:aws:iam::123456789012:role/delivery"
EXTERNAL_ID = "ours-4711"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class Sts:
    """`with Sts(keys) as sts:` hands out `keys` for ROLE with EXTERNAL_ID, or for a good web identity token."""

    def __init__(self, keys: dict[str, str], *, caller: str = "", seconds: int = 3600) -> None:
        self.keys = keys
        self.caller = caller  # the only key id that may ask; empty: any
        self.seconds = seconds
        self.token = "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"
        self.external_id_required = True
        self.odd: Callable[[str], str] = lambda body: body  # what becomes of a good answer
        self.asked: list[dict[str, str]] = []

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                asked = {k: v[0] for k, v in parse_qs(body).items()}
                asked["authorization"] = self.headers.get("Authorization", "")
                outer.asked.append(asked)
                status, reply = outer.answer(asked)
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, asked: dict[str, str]) -> tuple[int, bytes]:
        action = asked["Action"]
        if action == "AssumeRole":
            if self.caller and f"Credential={self.caller}/" not in asked["authorization"]:
                return _error(403, "InvalidClientTokenId")
            if asked["RoleArn"] != ROLE:
                return _error(403, "AccessDenied")
            if self.external_id_required and asked.get("ExternalId") != EXTERNAL_ID:
                return _error(403, "AccessDenied")
        elif asked.get("WebIdentityToken") != self.token or asked["RoleArn"] != ROLE:
            return _error(400, "InvalidIdentityToken")
        ends = datetime.now(UTC) + timedelta(seconds=self.seconds)
        given = (
            f"<AccessKeyId>{self.keys['key_id']}</AccessKeyId><SecretAccessKey>{self.keys['secret']}</SecretAccessKey>"
            f"<SessionToken></SessionToken><Expiration>{ends.isoformat()}</Expiration>"
        )
        body = (
            f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>'
            f"<Credentials>{given}</Credentials></{action}Result></{action}Response>"
        )
        return 200, self.odd(body).encode()


def _error(status: int, code: str) -> tuple[int, bytes]:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>"
    return status, f'<ErrorResponse xmlns="{NAMESPACE}">{error}</ErrorResponse>'.encode()
