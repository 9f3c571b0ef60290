"""The rows of the grid: a package for each task, in it a module for each stage."""
