"""Learning-rate schedules: step -> learning rate.

Both rise to a peak and fall to 0, as one cycle (Smith and Topin, 2018).
"""

import math
from collections.abc import Callable

RISE = 0.2  # share of the steps in which the rate rises


def one_cycle(peak: float, steps: int, rise: float = RISE) -> Callable[[int], float]:
    """Return step -> learning rate: up to `peak` over the share `rise` of `steps`, then down to 0.

    Both parts are half cosines, as in torch's OneCycleLR (Smith and Topin, 2018).
    """
    peak_step = max(1, round(rise * steps))

    def rate(step: int) -> float:
        if step < peak_step:
            return peak * (1 - math.cos(math.pi * (step + 1) / (peak_step + 1))) / 2
        return peak * (1 + math.cos(math.pi * (step - peak_step) / max(1, steps - peak_step))) / 2

    return rate


def triangle(peak: float, steps: int, rise: float = RISE) -> Callable[[int], float]:
    """Return step -> learning rate: as `one_cycle`, along straight lines."""
    peak_step = max(1, round(rise * steps))

    def rate(step: int) -> float:
        if step < peak_step:
            return peak * (step + 1) / (peak_step + 1)
        return peak * (1 - (step - peak_step) / max(1, steps - peak_step))

    return rate


SCHEDULES: dict[str, Callable[[float, int, float], Callable[[int], float]]] = {
    "cosine": one_cycle,
    "linear": triangle,
}
