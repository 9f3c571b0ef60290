"""Helpers of the tests: copies of the project, commands in them, small params."""
