"""Split the lock: what torch brings (its CUDA build, on Linux), the extras, and all else.

So that a CPU-only torch can be installed from another index, the rest from the lock, and the extras by
those who need them.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
OF_TORCH = re.compile(r"^(torch|torchvision|triton|nvidia-(?!ml-py)|cuda-)")


def read_pins(name: str) -> list[str]:
    """Return the packages of a lock, each with its hashes."""
    return re.split(r"\n(?=\S)", (HERE / name).read_text().strip())


def main() -> None:
    """Write torch.txt, base.txt and extras.txt from plain.txt, and from all.txt with the extras too."""
    plain = read_pins("plain.txt")
    packages = {pin.partition("==")[0] for pin in plain}
    parts = {
        "torch.txt": [pin for pin in plain if OF_TORCH.match(pin)],
        "base.txt": [pin for pin in plain if not OF_TORCH.match(pin)],
        "extras.txt": [
            pin for pin in read_pins("all.txt") if pin.partition("==")[0] not in packages
        ],
    }
    for name, pins in parts.items():
        (HERE / name).write_text("\n".join(pins) + "\n")


if __name__ == "__main__":
    main()
