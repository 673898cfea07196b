"""The settings of a run: typed, frozen, checked once, saved with the run as config.toml."""
