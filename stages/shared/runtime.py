"""Where and how the numbers are made: threads, instructions, seeds, the machine."""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    import torch

    from stages.shared.schema import Runtime

# Each library has a word of its own for "no instruction newer than AVX2". MKL's STRICT also makes
# a product's bytes independent of the number of threads.
_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2,STRICT",
    "OPENBLAS_CORETYPE": "Haswell",
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def hold(runtime: "Runtime") -> None:
    """Hold the libraries to the threads and instructions that the params name.

    To be called before numpy or torch is imported: they read these variables once.
    """
    os.environ.update(dict.fromkeys(_THREADS, str(runtime.threads)))
    # A thread that waits sleeps. Spinning saves little on an idle machine, and on one that runs
    # anything else beside it made training over ten times slower (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if runtime.cpu == "avx2" and platform.machine() in {"x86_64", "AMD64"}:
        os.environ.update(_AVX2)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


def hold_torch(runtime: "Runtime") -> None:
    """Set torch's threads and let it use deterministic algorithms only."""
    import torch

    torch.set_num_threads(runtime.threads)
    # As use_deterministic_algorithms, but without importing the compiler, which takes seconds.
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False
    # Filling new memory would only mask reads of what was never written; nothing here does that.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def device(runtime: "Runtime") -> "torch.device":
    """Return the device on which a trained model is asked; "auto" is the GPU where there is one.

    Raises:
        Refusal: this machine has no such device.
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
        raise Refusal(
            f"runtime.device: given {name!r}, which this machine lacks ({reason}); set cpu or auto"
        ) from None
    return torch.device(name)


def device_name(where: "torch.device") -> str:
    """Return a device by its kind, and a GPU by its name too."""
    import torch

    gpu = f" ({torch.cuda.get_device_name(where)})" if where.type == "cuda" else ""
    return f"{where.type}{gpu}"


def seed_for(*purpose: str | int) -> int:
    """Return a seed for a named purpose: `seed_for(0, "shuffle", 3)`.

    Each purpose has a stream of its own, the same in every process and on every machine (Python's
    `hash` is neither), so that drawing more for one changes nothing for another.
    """
    text = "/".join(str(part) for part in purpose)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        lines = []
    facts = {}
    for line in reversed(lines):  # the first core's stay
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    # A rented machine's name is that of a whole line of processors.
    parts = [
        f"{part} {facts[part]}" for part in ("cpu family", "model", "stepping") if part in facts
    ]
    return f"{facts['model name']} ({', '.join(parts)})" if parts else facts["model name"]


def machine_here() -> dict[str, Any]:
    """Return what this machine is, whatever params ask of it."""
    libraries = ("torch", "torchvision", "numpy", "scikit-learn", "lightning-fabric", "dvc")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        flags = set(text.partition("flags")[2].partition("\n")[0].split())
        level = next((one for one in ("avx512f", "avx2", "avx") if one in flags), "older than avx")
    except OSError:
        level = "not known on this system"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "processor_instructions": level,  # the newest of those that matter here
        **{name: version(name) for name in libraries},
    }


def machine(runtime: "Runtime", device_name: str = "") -> dict[str, Any]:
    """Return what the numbers were made on: processor, system, versions, threads, device."""
    return {
        **machine_here(),
        "instructions": runtime.cpu,  # those that were used
        "threads": runtime.threads,
        "device": device_name or runtime.device,
        "devices": runtime.devices,
        "precision": runtime.precision,
    }
