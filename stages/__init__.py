"""The pipeline: a module for each stage, and the packages that they use."""
