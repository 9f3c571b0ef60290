"""Reproducible arithmetic: threads, instruction sets, deterministic algorithms, named seeds."""

import hashlib
import os
import platform
from typing import TYPE_CHECKING

from stages.core.errors import UserError

if TYPE_CHECKING:
    import torch

    from stages.core.schema import Runtime

# The variable by which each library is limited to AVX2. MKL's STRICT also makes matrix products
# independent of the number of threads, bit for bit.
_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2,STRICT",
    "OPENBLAS_CORETYPE": "Haswell",
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pin_threads(runtime: "Runtime") -> None:
    """Limit the numeric libraries to the threads and the instruction set of the params.

    Call it before numpy or torch is imported: they read these environment variables at import.
    """
    os.environ.update(dict.fromkeys(_THREADS, str(runtime.threads)))
    # Waiting threads sleep. Spinning saves little on an idle machine and made training over ten
    # times slower on a busy one (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if runtime.cpu == "avx2" and platform.machine() in {"x86_64", "AMD64"}:
        os.environ.update(_AVX2)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


def set_deterministic(runtime: "Runtime") -> None:
    """Set torch's number of threads and restrict it to deterministic algorithms."""
    import torch

    torch.set_num_threads(runtime.threads)
    # Same effect as use_deterministic_algorithms, which also imports the compiler (seconds).
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False
    # Filling new memory costs time and is needed only by code that reads uninitialised memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def torch_device(runtime: "Runtime") -> "torch.device":
    """Return the device on which a trained model runs; "auto" selects the GPU if the machine has one.

    Raises:
        UserError: this machine has no such device.
    """
    import torch

    name: str = runtime.device
    if name == "auto":
        gpu = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else gpu
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"runtime.device: given {name!r}, which this machine lacks ({reason}); set cpu or auto"
        ) from None
    return torch.device(name)


def device_name(device: "torch.device") -> str:
    """Return the type of `device`, with the model of a GPU: `cuda (NVIDIA A100)`."""
    import torch

    gpu = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device.type}{gpu}"


def seed_of_fold(seed: int, fold: int | None) -> int:
    """Return the seed of a fold's training run; without folds, the seed itself.

    So runs differ in split and in seed (Bouthillier et al., 2021, section 3).
    """
    return seed if fold is None else seed_for(seed, "fold", fold)


def seed_for(*purpose: str | int) -> int:
    """Return a 48-bit seed for a named purpose: `seed_for(0, "shuffle", 3)`.

    Each purpose has its own random stream, so drawing more for one changes nothing for another. The
    seed is the same in every process and on every machine (Python's `hash` is not).
    """
    text = "/".join(str(part) for part in purpose)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
