"""Tasks on a Ray cluster: the extra `scale`.

The project, with its environment, and the data are on storage that all nodes see. A task leaves its result
in a file there.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stages.core.errors import UserError, printable

_WAITING_TASKS = 2  # for each core of the cluster
_SECONDS_TO_CONNECT = 20
_ADVICE = "run the same command again to go on from what is finished"


def run_on_ray(
    address: str, function: Callable[[Any], object], arguments: Sequence[Any]
) -> Iterator[int]:
    """Call a function with each argument, on one core each; yield 0 for each call that has ended.

    Ray starts a call again, three times at most, whose worker or node has died.

    Args:
        address: of the cluster, as in RAY_ADDRESS.
        function: of a module, which the nodes import.
        arguments: that can be pickled.

    Raises:
        UserError: Ray is not installed, there is no such cluster, a worker dies again and again, or the
            function raises one.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray as module
    except ImportError:
        raise UserError(
            "RAY_ADDRESS is set, but Ray is not installed; install it with `make extras`, or unset "
            "RAY_ADDRESS"
        ) from None
    ray: Any = module  # partly without types
    _connect(ray, address)
    try:
        task = ray.remote(num_cpus=1)(function)
        waiting = list(reversed(arguments))
        running: list[Any] = []
        while waiting or running:
            limit = _WAITING_TASKS * max(1, int(ray.cluster_resources().get("CPU", 1)))
            while waiting and len(running) < limit:
                running.append(task.remote(waiting.pop()))
            ended, running = ray.wait(running, num_returns=1)
            for result in ended:
                _require_success(ray, result)
                yield 0
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Connect to a running cluster, or start one here for `local`."""
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal() and "/" not in host:  # Ray itself would wait for minutes
            socket.create_connection((host, int(port)), _SECONDS_TO_CONNECT).close()
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # noqa: BLE001 (each kind of address fails in its own way)
        raise UserError(
            f"RAY_ADDRESS: given {address!r}, where no Ray cluster answers "
            f"({printable(str(error))[:300]}); start one with `ray start`, or unset RAY_ADDRESS"
        ) from None


def _require_success(ray: Any, result: Any) -> None:
    try:
        ray.get(result)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise UserError(
            f"a worker of the Ray cluster died ({_first_line(error)}); {_ADVICE}"
        ) from None


def _first_line(error: Exception) -> str:
    return printable(str(error).strip().split("\n")[0])[:300]
