"""Generative practice."""
