"""Texts: where they come from, how they are kept, which of them repeat."""
