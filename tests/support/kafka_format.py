"""Formats the nodes of test clusters: with Kafka's tool once, and after that by copying what it wrote.

The tool costs 0.7 CPU seconds, and a run of all tests formats some thirty nodes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from embedded.kafka.node import Node, new_cluster_id

PROPERTIES = Path("meta.properties")

#: The files that the tool wrote, by their paths in the data folder, for nodes of one kind.
_written: dict[tuple[str, ...], dict[Path, bytes]] = {}


def format_node(node: Node, is_voter: bool, cluster: str, options: Sequence[str]) -> None:
    """Initialise a node's data folder for a cluster id; `options` go to kafka-storage.

    Raises:
        KafkaFailed: the tool failed.
    """
    kind = (str(is_voter), *options)
    if kind not in _written:
        node.format(cluster, options)
        files = [path for path in node.data.rglob("*") if path.is_file()]
        _written[kind] = {path.relative_to(node.data): path.read_bytes() for path in files}
        return
    for path, content in _written[kind].items():
        (node.data / path).parent.mkdir(parents=True, exist_ok=True)
        (node.data / path).write_bytes(content)
    properties = (node.data / PROPERTIES).read_text()
    own = {"cluster.id": cluster, "directory.id": new_cluster_id(), "node.id": str(node.number)}
    for name, value in own.items():
        properties, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", properties)
        assert count == 1, f"{name} is not in {PROPERTIES}"
    (node.data / PROPERTIES).write_text(properties)
