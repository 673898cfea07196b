"""Labels: read from cells of any type, encoded for training, and matched to the labels that a model knows."""
