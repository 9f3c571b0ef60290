"""Split the lock: what torch brings (its CUDA build, on Linux), and all else.

So that a CPU-only torch can be installed from another index, and the rest from the lock.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
OF_TORCH = re.compile(r"^(torch|torchvision|triton|nvidia-(?!ml-py)|cuda-)")


def main() -> None:
    """Write base.txt and torch.txt from all.txt."""
    pins = re.split(r"\n(?=\S)", (HERE / "all.txt").read_text().strip())
    for name, wanted in (("torch.txt", True), ("base.txt", False)):
        mine = [pin for pin in pins if bool(OF_TORCH.match(pin)) is wanted]
        (HERE / name).write_text("\n".join(mine) + "\n")


if __name__ == "__main__":
    main()
