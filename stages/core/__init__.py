"""What everything else builds on: tasks, params, files, errors, reproducible arithmetic, processes."""
