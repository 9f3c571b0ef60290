"""Checks before a model is trained: of the code, of the data and of the untrained network."""
