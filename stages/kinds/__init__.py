"""The kinds of task: a package for each, with its schema, its model, and a module for each stage."""
