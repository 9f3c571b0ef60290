"""Images: sources, the packed array, near duplicates."""
