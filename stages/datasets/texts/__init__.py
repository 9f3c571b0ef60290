"""Texts: sources, the packed file, near duplicates."""
