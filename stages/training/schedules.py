"""Learning-rate schedules: step -> learning rate."""

import math
from collections.abc import Callable


def one_cycle(peak: float, steps: int, rise: float = 0.2) -> Callable[[int], float]:
    """Return step -> learning rate: up to `peak` over the share `rise` of `steps`, then down to 0.

    Both parts are half cosines, as in torch's OneCycleLR (Smith and Topin, 2018).
    """
    peak_step = max(1, round(rise * steps))

    def rate(step: int) -> float:
        if step < peak_step:
            return peak * (1 - math.cos(math.pi * (step + 1) / (peak_step + 1))) / 2
        return peak * (1 + math.cos(math.pi * (step - peak_step) / max(1, steps - peak_step))) / 2

    return rate
