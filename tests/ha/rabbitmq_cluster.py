"""A RabbitMQ cluster of three nodes on this machine."""

import asyncio
import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.dev.ports import choose_port
from service.dev.processes import Process
from service.dev.rabbitmq import RabbitMQ, server_program

NODES: Final = 3

_HOST: Final = "127.0.0.1"
_NAMES: Final = tuple(f"results-{number}@localhost" for number in range(1, NODES + 1))
_POLL_S: Final = 0.5
_TIMEOUT_S: Final = 120.0
_COMMAND_TIMEOUT_S: Final = 60.0
_COLUMNS: Final = ("name", "leader", "members", "online")
_DISCOVERY: Final = "cluster_formation.peer_discovery_backend = classic_config\n" + "".join(
    f"cluster_formation.classic_config.nodes.{number} = {name}\n" for number, name in enumerate(_NAMES, 1)
)


@dataclass(frozen=True)
class ClusterSecrets:
    """The values that all nodes share."""

    password: str
    cookie: str
    epmd_port: int


class ClusterNode(RabbitMQ):
    """One node, which joins the others when it starts. The cluster has one epmd."""

    def __init__(self, directory: Path, node_name: str, shared: ClusterSecrets) -> None:
        super().__init__(directory, memory="500MB", name=node_name.partition("@")[0])
        self.node_name = node_name
        self._shared = shared

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in (("password", self._shared.password), (".erlang.cookie", self._shared.cookie)):
            file = self.directory / name
            file.touch(mode=0o600)
            file.write_text(text)
        super().prepare()
        self._epmd_port = self._shared.epmd_port

    def list_queues(self) -> Sequence[Mapping[str, Any]]:
        """Return the quorum queues as this node sees them. Blocks."""
        command = [str(Path(server_program()).with_name("rabbitmqctl")), "--node", self.node_name, "--quiet"]
        options = ["--formatter", "json", *_COLUMNS]
        environment = {**self._environment(), "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"}
        output = subprocess.check_output(
            [*command, "list_queues", *options], env=environment, text=True, timeout=_COMMAND_TIMEOUT_S
        )
        return list(json.loads(output))

    def _launch_epmd(self) -> None:
        """Do nothing: the cluster starts epmd."""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        with (self.directory / "rabbitmq.conf").open("a") as configuration:
            configuration.write(_DISCOVERY)

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), "RABBITMQ_NODENAME": self.node_name}


@dataclass(frozen=True)
class RabbitMQCluster:
    """The nodes, which are killed and started one at a time."""

    nodes: Sequence[ClusterNode]

    @property
    def url(self) -> str:
        """A URL that lists all nodes."""
        hosts = ",".join(f"{_HOST}:{node.port}" for node in self.nodes)
        login = self.nodes[0].url.rpartition("@")[0]
        return f"{login}@{hosts}/"

    async def await_replicas(self) -> None:
        """Wait until every queue has a member on each node, and all members are online."""
        await self._await(lambda queues: all(_is_complete(queue) for queue in queues))

    async def leader(self, queue: str, *, other_than: ClusterNode | None = None) -> ClusterNode:
        """Wait until the queue has a leader, which isn't on the node `other_than`, and return its node."""
        excluded = {None, "", other_than.node_name if other_than else None}
        queues = await self._await(lambda queues: _leader_of(queue, queues) not in excluded)
        return next(node for node in self.nodes if node.node_name == _leader_of(queue, queues))

    async def _await(self, condition: Callable[[Sequence[Mapping[str, Any]]], bool]) -> Sequence[Mapping[str, Any]]:
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                node = next(node for node in self.nodes if node.is_running())
                queues = await asyncio.to_thread(node.list_queues)
                if queues and condition(queues):
                    return queues
                await asyncio.sleep(_POLL_S)


@contextmanager
def rabbitmq_cluster(directory: Path) -> Iterator[RabbitMQCluster]:
    """Run a cluster while the block runs."""
    shared = ClusterSecrets(secrets.token_urlsafe(24), secrets.token_hex(16), choose_port())
    with ExitStack() as opened:
        epmd = Process("epmd", directory)
        epmd.launch([shutil.which("epmd") or "epmd", "-port", str(shared.epmd_port), "-address", _HOST])
        opened.callback(epmd.stop)
        nodes = [ClusterNode(directory / name, name, shared) for name in _NAMES]
        for node in nodes:
            opened.callback(node.stop)
            node.prepare()
            node.launch()
        for node in nodes:
            node.await_ready()
        yield RabbitMQCluster(nodes)


def _is_complete(queue: Mapping[str, Any]) -> bool:
    return len(queue["members"]) == len(queue["online"]) == NODES


def _leader_of(name: str, queues: Sequence[Mapping[str, Any]]) -> str | None:
    return next((queue["leader"] for queue in queues if queue["name"] == name), None)
