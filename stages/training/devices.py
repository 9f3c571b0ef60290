"""The device, precision and processes of a training run, by Lightning Fabric."""

from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.runtime import set_deterministic

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.core.schema import Runtime


def launch_fabric(runtime: "Runtime") -> "Fabric":
    """Return Fabric, launched, for the device, processes and precision of the params.

    Whatever trains calls this, so it also restricts torch to deterministic algorithms: without that, a GPU
    gives other bytes each time.

    Raises:
        UserError: this machine lacks the device, or has too few of them.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    set_deterministic(runtime)
    try:
        fabric = Fabric(
            accelerator=runtime.device, devices=runtime.devices, precision=runtime.precision
        )
        fabric.launch()
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise UserError(
            f"runtime.device {runtime.device!r}, devices {runtime.devices}, precision "
            f"{runtime.precision!r}: {error}; set runtime.device: cpu, or auto"
        ) from None
    return fabric
