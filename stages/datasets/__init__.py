"""Data: sources, arrays on disk, near duplicates, splits."""
