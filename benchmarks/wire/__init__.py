"""What is measured between hosts: `hosts.py` beside this folder is the program."""

import sys
from pathlib import Path

# What starts processes and leaves none behind, and what makes hosts, is that of the tests.
_TESTS = Path(__file__).resolve().parents[2] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "launch")]
