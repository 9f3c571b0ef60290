"""Faults: the catalogue, injecting one as a patch, and running the checks that must detect it."""
