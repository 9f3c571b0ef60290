"""The device, precision and processes of a training run, by Lightning Fabric."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.runtime import set_deterministic

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

    from stages.core.schema import Runtime

# What torch says of a process that has ended, by gloo and by its own store.
_LOST = ("gloo", "Connection closed", "Connection reset", "Broken pipe", "TCPStore", "recvValue")


def launch_fabric(runtime: "Runtime") -> "Fabric":
    """Return Fabric, launched, for the device, processes and precision of the params.

    Whatever trains calls this, so it also restricts torch to deterministic algorithms: without that, a GPU
    gives other bytes each time.

    Raises:
        UserError: this machine lacks the device, or has too few of them; or the processes of several
            machines were not started by torchrun as the params say.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    set_deterministic(runtime)
    environment = _environment(runtime)
    try:
        fabric = Fabric(
            accelerator=runtime.device,
            devices=runtime.devices,
            num_nodes=runtime.nodes,
            precision=runtime.precision,
            plugins=[environment],
        )
        fabric.launch()
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise UserError(
            f"runtime.device {runtime.device!r}, devices {runtime.devices}, precision "
            f"{runtime.precision!r}: {error}; set runtime.device: cpu, or auto"
        ) from None
    return fabric


def _environment(runtime: "Runtime") -> "ClusterEnvironment":
    """Return how processes of a run know each other: by torchrun, or as children of the first one.

    Fabric is not left to guess: in an allocation of SLURM, also an interactive one, it would take the
    cluster's number of tasks for that of this run (pytorch-lightning issues 18618 and 18650).

    Raises:
        UserError: torchrun is missing, or has started another number of processes.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    count = int(os.environ["WORLD_SIZE"]) if TorchElasticEnvironment.detect() else None
    if count not in {None, runtime.processes}:
        raise UserError(
            f"torchrun has started {count} processes; params.yaml has runtime.nodes {runtime.nodes} times "
            f"runtime.devices {runtime.devices}; let both say the same"
        )
    if count is None and runtime.nodes > 1:
        raise UserError(
            f"runtime.nodes: given {runtime.nodes}; run the stage on each of them by torchrun: torchrun "
            f"--nnodes {runtime.nodes} --nproc-per-node {runtime.devices} --node-rank RANK --master-addr "
            "HOST --master-port PORT -m stages.train TASK (docs/cluster.md)"
        )
    return LightningEnvironment() if count is None else TorchElasticEnvironment()


@contextmanager
def lost_process_is_an_error(fabric: "Fabric") -> Iterator[None]:
    """Turn what torch raises when another process of the run has ended into an error of the user.

    Raises:
        UserError: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not any(word in str(error) for word in _LOST):
            raise
        raise UserError(
            f"process {fabric.global_rank + 1} of {fabric.world_size} has lost another one, which was "
            "killed or could not be reached; the same command again goes on from the last epoch"
        ) from None
