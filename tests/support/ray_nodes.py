"""A Ray cluster of several nodes on this machine."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hanging import HUNG_SECONDS

HOOKS = Path(__file__).parent / "ray_faults"
# The loopback address 127.0.0.1 itself hangs: Ray replaces it by that of a network card.
HEAD, *NODES = (f"127.0.0.{number}" for number in (2, 3, 4))
MEMORY = 80 << 20


@dataclass(frozen=True)
class RayCluster:
    """A cluster whose head encodes nothing, and whose nodes have one core each."""

    address: str
    faults: Path
    nodes: Any

    def order(self, fault):
        """Let the next worker that comes to it fail so."""
        (self.faults / fault).touch()

    def workers(self):
        """Return the processes that were given ranges since the test began."""
        return {int(path.suffix[1:]) for path in self.faults.glob("worker.*")}

    def replace_node(self):
        """Kill a node with its worker, and add another one."""
        self.kill_node()
        self.add_node()

    def kill_node(self):
        """Kill a node with its worker."""
        node = min(self.nodes.worker_nodes, key=lambda node: node.unique_id)
        self.nodes.remove_node(node, allow_graceful=False)

    def add_node(self):
        """Add a node at the address that has none."""
        [address] = {*NODES} - {node.node_ip_address for node in self.nodes.worker_nodes}
        self.nodes.add_node(node_ip_address=address, num_cpus=1, object_store_memory=MEMORY)


@contextmanager
def started_cluster(faults):
    """Start a cluster, and stop it at the end of the context.

    Args:
        faults: Empty folder, in which faults of the workers are ordered (see :mod:`sitecustomize`).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TEST_FAULTS", str(faults))
        patch.setenv(
            "PYTHONPATH", os.pathsep.join(filter(None, [str(HOOKS), os.environ.get("PYTHONPATH")]))
        )
        # Its own limit of 30 s for the start of a node has no option: its clock goes slowly.
        slow = SimpleNamespace(
            monotonic=lambda: time.monotonic() * 30 / HUNG_SECONDS, time=time.time, sleep=time.sleep
        )
        patch.setattr("ray._private.node.time", slow)
        nodes = _started()
        try:
            yield RayCluster(nodes.address, faults, nodes)
        finally:
            nodes.shutdown()


def _started():
    from ray.cluster_utils import Cluster

    class PatientCluster(Cluster):
        def _wait_for_node(self, node, timeout=HUNG_SECONDS):
            super()._wait_for_node(node, timeout)

    nodes = PatientCluster(
        initialize_head=True,
        head_node_args={
            "node_ip_address": HEAD,
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": MEMORY,
            # The head sees that a node is killed by its connection; one that is only slow to answer
            # lives on.
            "_system_config": {
                "health_check_period_ms": 1000,
                "health_check_timeout_ms": 1000,
                "health_check_failure_threshold": round(HUNG_SECONDS),
                "worker_register_timeout_seconds": round(HUNG_SECONDS),
            },
        },
    )
    for address in NODES:
        nodes.add_node(node_ip_address=address, num_cpus=1, object_store_memory=MEMORY)
    return nodes
