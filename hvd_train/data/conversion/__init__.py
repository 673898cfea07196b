"""From a table to a dataset directory: one pass over the table, bounded memory, and a whole directory or none."""
