"""How fast the sync is: each step after the consumer by itself, and a whole process that catches up with a lag.

Sign-ins of about 580 bytes with all fields that are documented.  Everything after the consumer is what the process does with a record once it has
it: judge (decode, duplicates), form (filter, envelope, line), pack (gzip, hash), put (to a real server, or a directory).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import psutil

from deploy.bench import machine, show
from deploy.local import s3
from deploy.local.processes import Child, free_ports
from deploy.local.stack import Stack
from exporters.sinks import clients
from exporters.sinks.opening import open_sink
from exporters.sinks.sink import Sink
from exporters.sinks.target import BucketTarget
from exporters.sync import desk, verify
from exporters.sync.batches import Batch, Former, Place, cut_of
from exporters.sync.destinations import Destination, parse
from pipeline import clock, console
from pipeline.errors import Unavailable
from pipeline.intake.records import Sender
from pipeline.model.dialects import AuthenticationEvent
from pipeline.settings import Settings
from pipeline.topics import AUTHENTICATIONS

PIECE = 500  # as the lane hands them on
NOW = 1_900_000_000_000
BUCKET = "bench"
T = TypeVar("T")


class Record(NamedTuple):
    offset: int
    value: bytes
    timestamp: int = NOW
    partition: int = 0
    headers: tuple[()] = ()


def sign_ins(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of so many sign-ins, the same ones each time."""
    rng = random.Random(1)  # noqa: S311 - measurements want the same events each time
    for n in range(count):
        user = rng.randrange(10_000)
        result = '"result":"failure","reason":"posture_mismatch",' if n % 10 == 0 else '"result":"success",'
        value = (
            f'{{"version":1,"id":"01JH{n:012x}","time":"2026-01-15T14:{n // 60_000 % 60:02d}:{n // 1000 % 60:02d}.{n % 1000:03d}000+00:00",'
            f'"action":{{"type":"{("reauth", "client_login")[n % 2]}",{result}'
            f'"user":{{"email":"user{user}@example.com","id":"{890_000 + user}","policy":{{"id":"p{user % 7}","name":"Default Policy"}},'
            f'"device":{{"id":"d{user}","name":"Laptop of user {user}"}},"resource":{{"id":"{user % 500}","name":"argocd.internal.example.com"}}}},'
            f'"client_ip":"203.0.{user % 256}.{user % 200}","idp":{{"name":"okta","issuer":"https://example.okta.com","error":null,"error_description":null}},'
            '"posture":{"failed":["disk_encryption","minimum_os"]},"mfa":{"method":"totp","actor":{"email":"helpdesk@example.com","id":"7"}}}}'
        )
        yield str(890_000 + user).encode(), value.encode()


def decoding_alone() -> float:
    """MB of JSON per CPU second that the decoder takes on this machine, with types and nothing else: what the steps are to be compared with."""
    decode, clocked, size = msgspec.json.Decoder(AuthenticationEvent).decode, Clocked(), 0
    source = sign_ins(50_000)
    while piece := [value for _, value in islice(source, PIECE)]:
        clocked("decode", lambda piece=piece: list(map(decode, piece)))  # type: ignore[misc]
        size += sum(map(len, piece))
    return size / clocked.seconds["decode"] / 1e6


class Clocked:
    """Processor seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[[], T]) -> T:
        began = clock.cpu_seconds()
        answer = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + clock.cpu_seconds() - began
        return answer


def steps(count: int, destination: Destination, sink: Sink) -> dict[str, Any]:
    """Every step after the consumer, in this process, one partition."""
    console.collect_rarely()  # as in the process
    size, clocked = 0, Clocked()
    former, place = Former("authentication", destination), Place("authentication", "bench000", 0)
    verdicts = former.verdicts()
    batch, stored = Batch(0, 0), 0

    def put(full: Batch) -> int:
        _, documents = clocked("pack", lambda: cut_of(full, place, destination, hour=0, window=0, begun=True, at=NOW))
        for document in documents.values():
            clocked("put", lambda document=document: sink.create(document))  # type: ignore[misc]
        return sum(d.size for d in documents.values())

    source = sign_ins(count)
    for start in range(0, count, PIECE):
        piece = [Record(start + n, value) for n, (_, value) in enumerate(islice(source, PIECE))]
        size += sum(len(r.value) for r in piece)
        judged = clocked("judge", lambda piece=piece: verdicts(piece))  # type: ignore[misc]
        while piece:
            taken = clocked("form", lambda: former.take(batch, piece, judged))  # noqa: B023 - called at once
            piece, judged = piece[taken:], judged[taken:]
            if batch.full:
                stored += put(batch)
                batch = Batch(batch.end, batch.end)
    stored += put(batch)
    total = sum(clocked.seconds.values())
    alone = decoding_alone()
    shares = {f"{step}, share of CPU": round(seconds / total, 3) for step, seconds in clocked.seconds.items()}
    return {
        "events": count, "bytes per event": size // count, "MB of JSON per CPU second after the consumer": round(size / total / 1e6, 1),
        **shares, "decoding alone, MB per CPU second": round(alone, 1), "times as long as decoding alone": round(alone * total * 1e6 / size, 2), "stored MB": round(stored / 1e6, 1), "to": sink.place,
    }  # fmt: skip


def run(count: int, lag: int) -> None:
    """`count` events through the steps, `lag` events through a whole process."""
    with (
        tempfile.TemporaryDirectory(prefix="activity-bench-") as directory,
        Stack(Path(directory), servers_only=True) as stack,
    ):
        data = stack.data
        server = s3_server(data)
        try:
            target = make_target(data)
            show(
                {
                    **steps(
                        count, parse("bench", {"target": target}), open_sink(parse("bench", {"target": target}).target)
                    ),
                    **machine(),
                }
            )
            if lag:
                show({**whole(stack.settings(), data, target, lag), **machine()})
        finally:
            server.stop(10)


def whole(settings: Settings, data: Path, target: dict[str, Any], lag: int) -> dict[str, Any]:
    """A process that catches up with so many events in 8 partitions; with its start."""
    size = 0
    with Sender(settings) as sender, console.progress("writing events", lag) as advance:
        for n, (key, value) in enumerate(sign_ins(lag)):
            sender.send(AUTHENTICATIONS, key=key, value=value)
            size += len(value)
            if n % 10_000 == 0:
                advance(10_000)
    place = {**target, "prefix": "lag"}
    (data / "activity.toml").write_text(written(place, {"manifest_seconds": 5, "idle_seconds": 2}))
    command = [sys.executable, "-m", "deploy.cli", "sync", "--data", str(data)]
    began, resident = clock.monotonic(), 0
    with (data / "logs" / "sync.log").open("ab") as log:
        process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        with desk.following(settings) as told:
            while True:
                clock.pause(0.25)
                resident = max(resident, process.memory_info().rss)
                lanes = [lane for state in told.states("bench") for lane in state.lanes]
                if lanes and sum(lane.delivered for lane in lanes) >= lag:
                    break
                if process.poll() is not None:
                    raise Unavailable(f"the sync ended with code {process.returncode}; see {data / 'logs'}")
        used, wall = process.cpu_times(), clock.monotonic() - began
    finally:
        process.terminate()
        process.wait(60)
    found = verified(data, place)
    cpu = used.user + used.system
    return {
        "events of lag": lag, "MB of JSON per CPU second, whole process with its start": round(size / cpu / 1e6, 1), "events per CPU second": round(lag / cpu),
        "process CPU seconds": round(cpu, 2), "wall seconds": round(wall, 1), "peak resident MB": resident // 1_000_000,
        "verified": found.ok, "events in the bucket": found.events,
    }  # fmt: skip


def verified(data: Path, target: dict[str, Any]) -> verify.Findings:
    """What the verifier says of the bucket."""
    keys = json.loads((data / "s3" / s3.KEYS).read_text())
    bucket = verify.Bucket(
        f"s3://{BUCKET}/{target['prefix']}",
        endpoint_url=target["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=keys["key_id"],
        aws_secret_access_key=keys["secret"],
    )
    return verify.Verifier(bucket).run()


def written(target: dict[str, Any], pace: dict[str, float]) -> str:
    """The destination as TOML."""

    def table(name: str, content: dict[str, Any]) -> list[str]:
        plain = [f"{n} = {json.dumps(v)}" for n, v in content.items() if not isinstance(v, dict)]
        return [
            f"[{name}]",
            *plain,
            *(x for n, v in content.items() if isinstance(v, dict) for x in table(f"{name}.{n}", v)),
        ]

    return "\n".join(table("destinations.bench", {**pace, "target": target})) + "\n"


def s3_server(data: Path) -> Child:
    (data / "s3").mkdir(exist_ok=True)
    ports = free_ports(dict.fromkeys(s3.PORTS, 0))
    (data / "s3-ports.json").write_text(json.dumps(ports))
    child = Child("s3", s3.command(data / "s3", ports), data / "logs" / "s3.log")
    child.start()
    return child


def make_target(data: Path) -> dict[str, Any]:
    """The bench's bucket, made once the server answers."""
    port = json.loads((data / "s3-ports.json").read_text())["s3.port"]
    target = {
        "kind": "s3", "bucket": BUCKET, "prefix": "steps", "endpoint": f"http://127.0.0.1:{port}", "path_style": True,
        "credentials": {"kind": "keys", "file": str(data / "s3" / s3.KEYS)},
    }  # fmt: skip
    made = BucketTarget.model_validate(target)
    deadline = clock.monotonic() + 60
    while True:
        try:
            clients.connect(made, clients.Timing(attempts=1)).create_bucket(Bucket=BUCKET)
        except Exception:
            if clock.monotonic() > deadline:
                raise
            clock.pause(0.2)
        else:
            return target
