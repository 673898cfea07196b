"""The train rows in the memory of a rank's GPU."""
