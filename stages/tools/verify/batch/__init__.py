"""Many results at once."""
