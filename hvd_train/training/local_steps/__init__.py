"""Local steps: virtual workers train from common weights for some steps, then their weights are averaged."""
