"""`python -m embedded.kafka.lock`: resolve Kafka's dependencies and write them to `jars.lock`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from jgo.maven import MavenContext, Model, PythonResolver

from embedded.kafka.installation import LOCK_FILE

#: Kafka, and the bridge for its logs from SLF4J to Log4j.
KAFKA = ("org.apache.kafka", "kafka_2.13", "4.4.0")
BRIDGE = ("org.apache.logging.log4j", "log4j-slf4j-impl")
LOG4J = "log4j-core"
HEADER = "# Written by `make lock`: the jars of Apache Kafka. Coordinates, SHA-256, bytes.\n"


def main() -> None:
    with TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), resolver=PythonResolver())
        kafka = context.project(*KAFKA[:2]).at_version(KAFKA[2])
        dependencies, _ = Model(kafka.pom(), context).dependencies()
        log4j = next(dependency.version for dependency in dependencies if dependency.artifactId == LOG4J)
        artifacts = [
            kafka.artifact(),
            context.project(*BRIDGE).at_version(log4j).artifact(),
            *(dependency.artifact for dependency in dependencies),
        ]
        lines = []
        for artifact in artifacts:
            content = artifact.resolve().read_bytes()
            coordinates = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            lines.append(f"{coordinates} {hashlib.sha256(content).hexdigest()} {len(content)}\n")
    LOCK_FILE.write_text(HEADER + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
