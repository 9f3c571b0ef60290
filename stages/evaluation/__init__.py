"""Evaluation: baselines, metrics, significance, slices, error analysis, generation metrics."""
