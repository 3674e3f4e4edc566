"""A proxy in front of a real S3 (or STS) server that does to one chosen request what networks and stores do to requests.

It runs in a thread of the test.  Requests pass unchanged, host and signature included, until a planned fault fits: each plan is used once.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit


class Fault(StrEnum):
    TOO_MANY = "429"
    INTERNAL = "500"
    UNAVAILABLE = "503"
    RESET_BEFORE = "reset before"
    RESET_AFTER = "reset after it was stored"
    TIME_OUT = "time-out"
    TRUNCATED = "truncated reply"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    CONFLICT = "409"
    TAKEN = "412"
    TAKEN_INSIDE = "412 inside a 200"
    SLOW = "slow"


class Operation(StrEnum):
    PUT = "PutObject"
    CREATE = "CreateMultipart"
    PART = "UploadPart"
    COMPLETE = "Complete"
    ROLE = "AssumeRole"


# What the store itself would say: status, S3's code, STS's code.
SAID = {
    Fault.TOO_MANY: (429, "TooManyRequests", "Throttling"),
    Fault.INTERNAL: (500, "InternalError", "InternalFailure"),
    Fault.UNAVAILABLE: (503, "SlowDown", "ServiceUnavailable"),
    Fault.FORBIDDEN: (403, "AccessDenied", "AccessDenied"),
    Fault.NOT_FOUND: (404, "NoSuchBucket", "NoSuchEntity"),
    Fault.CONFLICT: (409, "ConditionalRequestConflict", "ConcurrentModification"),
    Fault.TAKEN: (412, "PreconditionFailed", "PreconditionFailed"),
    Fault.TAKEN_INSIDE: (200, "PreconditionFailed", "PreconditionFailed"),
}
# Faults after which the request has reached the store although its sender cannot know.
STORED = (Fault.RESET_AFTER, Fault.TIME_OUT, Fault.TRUNCATED, Fault.SLOW)
SLOW_SECONDS = 0.2


@dataclass
class Plan:
    operation: Operation | str
    fault: Fault
    status: int = 0  # another answer than the usual one of this fault
    code: str = ""
    times: int = 1
    within: str = ""  # only requests whose path has this in it


@dataclass
class Request:
    method: str
    path: str
    head: bytes
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if b"Action=AssumeRole" in self.body:
            return Operation.ROLE
        match self.method:
            case "PUT":
                return Operation.PART if "partNumber" in query else Operation.PUT
            case "POST":
                return Operation.CREATE if "uploads" in query else Operation.COMPLETE
            case "DELETE" if "uploadId" in query:
                return "Abort"
        return self.method.title()


@dataclass
class Proxy:
    """`with Proxy(port) as proxy:` stands before 127.0.0.1:port; `proxy.endpoint` is the way in."""

    port: int
    plans: list[Plan] = field(default_factory=list)
    seen: Counter = field(default_factory=Counter)  # requests by operation, faults included
    met: list[tuple[str, Fault]] = field(default_factory=list)  # faults that came to pass
    drop_headers: tuple[str, ...] = ()  # headers the store shall not see; only for stores that do not check signatures

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def plan(self, operation, fault, *, status=0, code="", times=1, within=""):
        self.plans.append(Plan(operation, fault, status, code, times, within))

    def clear(self):
        self.plans.clear()
        self.met.clear()
        self.seen.clear()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=64 << 20)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _connection(self, reader, writer):
        try:
            while (request := await _request(reader, writer)) is not None:
                self.seen[request.operation] += 1
                plan = self._fitting(request)
                if plan is not None:
                    self.met.append((request.operation, plan.fault))
                if not await self._answer(request, plan, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, TimeoutError):
            pass
        finally:
            writer.close()

    def _fitting(self, request):
        for plan in self.plans:
            if plan.operation == request.operation and plan.within in request.path:
                plan.times -= 1
                if not plan.times:
                    self.plans.remove(plan)
                return plan
        return None

    async def _answer(self, request, plan, reader, writer) -> bool:
        """Whether the connection goes on."""
        fault = plan.fault if plan else None
        if fault is Fault.RESET_BEFORE:
            _reset(writer)
            return False
        if fault in SAID:
            status, code, role_code = SAID[fault]
            code = plan.code or (role_code if request.operation == Operation.ROLE else code)
            writer.write(_said(plan.status or status, code, role=request.operation == Operation.ROLE))
            await writer.drain()
            return True
        reply = await self._forward(request)
        match fault:
            case Fault.RESET_AFTER:
                _reset(writer)
                return False
            case Fault.TIME_OUT:
                await reader.read(1)  # until the client has had enough
                return False
            case Fault.TRUNCATED:
                # In the middle of a body; of an answer that is all head, behind its first line.
                head = reply.index(b"\r\n\r\n") + 4
                body = len(reply) - head
                writer.write(reply[: head + body // 2] if body else reply[: reply.index(b"\r\n") + 2])
                await writer.drain()
                return False
            case Fault.SLOW:
                for start in range(0, len(reply), len(reply) // 3 + 1):
                    await asyncio.sleep(SLOW_SECONDS / 3)
                    writer.write(reply[start : start + len(reply) // 3 + 1])
                    await writer.drain()
                return True
        writer.write(reply)
        await writer.drain()
        return True

    async def _forward(self, request) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=64 << 20)
        try:
            dropped = tuple(f"{name}:".encode() for name in ("expect", "connection", *self.drop_headers))
            lines = [x for x in request.head.rstrip().split(b"\r\n") if not x.lower().startswith(dropped)]
            writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + request.body)
            await writer.drain()
            reply = await reader.read()
            while reply.startswith(b"HTTP/1.1 100"):
                reply = reply.split(b"\r\n\r\n", 1)[1]
            # Our side of the connection stays open, whatever the server does with its own.
            head, _, body = reply.partition(b"\r\n\r\n")
            kept = [x for x in head.split(b"\r\n") if not x.lower().startswith(b"connection:")]
            if request.method != "HEAD" and not any(
                x.lower().startswith((b"content-length:", b"transfer-encoding:")) for x in kept
            ):
                kept.append(b"Content-Length: %d" % len(body))
            return b"\r\n".join(kept) + b"\r\n\r\n" + body
        finally:
            writer.close()


async def _request(reader, writer) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {k.strip().lower(): v.strip() for k, v in (x.split(":", 1) for x in lines)}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, head, headers, body)


def _said(status: int, code: str, *, role: bool) -> bytes:
    error = f"<Error><Code>{code}</Code><Message>as planned</Message></Error>"
    if role:
        error = f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{error}</ErrorResponse>'
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'.encode()
    return (
        f"HTTP/1.1 {status} Planned\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def _reset(writer) -> None:
    """Close so that the other side sees a reset, not an end."""
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
