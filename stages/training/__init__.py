"""Training: the loop, checkpoints, schedules, weights, sanity checks, diagnostics."""
