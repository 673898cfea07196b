"""A run up to its first step, which is not taken: what it would be, need and write."""
