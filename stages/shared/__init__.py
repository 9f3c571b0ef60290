"""What the tasks share, a module for each thing that it does."""
