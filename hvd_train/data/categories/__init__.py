"""Columns of texts: as codes while a table is read, as columns of 0 and 1 from there on."""
