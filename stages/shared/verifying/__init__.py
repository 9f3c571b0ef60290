"""Holding a committed result against what can be computed again."""
