"""Batch jobs: what is asked for (spec.py), the script that it makes (script.py), and how it gets into a queue (queue.py)."""
