"""The pipeline: stages are the columns of the grid, tasks its rows."""
