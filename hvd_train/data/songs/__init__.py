"""Synthetic songs: made-up rows that look like YearPredictionMSD, with a best possible prediction that is known.

`published` holds the figures of the real songs they are made after, `model` the distribution and its posterior over
years, `table` the generator as a table, `fit` how the model's free numbers were found. docs/concepts/synthetic-songs.md says what is real.
"""
