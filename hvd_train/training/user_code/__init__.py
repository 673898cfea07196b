"""Layers and functions of a user: kept with the run, checked to be saveable before training, equal on all ranks."""
