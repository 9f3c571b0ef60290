"""The command `evidence archive`: one file that outlives its host, and what it takes to read it again.

The format, so that the archive can be read without this project: docs/archive.md.
"""
