"""The command `evidence compare`: of metrics, of two tables of predictions, of two revisions."""
