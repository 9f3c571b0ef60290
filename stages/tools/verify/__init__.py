"""Checks a committed result against what can be computed again from it."""
