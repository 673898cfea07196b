"""Faults on purpose: what is killed when (`plan`), how (`inject`), where (`places`), what the run lost by it (`story`)."""

import sys
from pathlib import Path

# What starts processes and leaves none behind, and what makes two hosts, is that of the tests.
_TESTS = Path(__file__).resolve().parents[2] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "launch")]
