"""Verbs that look at the environment and change it."""
