"""The workshop: stripes, a linear baseline, a tiny CNN; small enough to follow every number."""
