"""ClickHouse's HTTP interface in front of chDB, as much of it as the client uses: `python -m tests.exporters.store.face PATH` prints its port.

The engine is the real one; what a server adds to it (users, quotas, replication) is not here.  Ends with its standard input.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import chdb

# What the transport means for itself; everything else beside the query and its parameters is a setting of the engine.
TRANSPORT = {"database", "query", "query_id", "session_id", "wait_end_of_query", "client_protocol_version", "compress", "decompress", "buffer_size",
             "send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression", "cancel_http_readonly_queries_on_client_close"}  # fmt: skip
BODY_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*$", re.IGNORECASE)


class Face(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self._body()
        query, data = (asked["query"], body) if "query" in asked else (body.decode(), b"")
        parameters = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
        settings = {n: v for n, v in asked.items() if n not in TRANSPORT and not n.startswith("param_")}
        try:
            self._answer(200, self._run(query, data, parameters, settings, asked.get("database")), {})
        except Exception as error:
            code = re.search(r"Code: (\d+)", str(error))
            self._answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1"})

    do_GET = do_POST

    def _run(self, query, data, parameters, settings, database):
        engine = chdb.connect(self.server.path)
        try:
            if database:
                engine.query(f"USE `{database}`")
            for name, value in settings.items():
                engine.query(f"SET {name} = '{value}'")
            if not data:
                return engine.query(query, "TabSeparated", params=parameters).bytes() or b""
            with tempfile.NamedTemporaryFile(suffix=".raw") as file:
                file.write(data)
                file.flush()
                form = BODY_FORMAT.search(query)[1]
                engine.query(f"{BODY_FORMAT.sub('', query)} FROM INFILE '{file.name}' FORMAT {form}")
            return b""
        finally:
            engine.close()

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {"X-ClickHouse-Timezone": "UTC", "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        if body:
            self.send_header("X-ClickHouse-Format", "TabSeparated")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Face)
    server.path = sys.argv[1]
    server.kept = chdb.connect(server.path)  # an engine ends with its last connection
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
