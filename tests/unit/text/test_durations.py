"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from hvd_train.errors import ConfigError
from hvd_train.processes import time_limit
from hvd_train.text import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1:30", 5400), ("0:00:05", 5), (" 100:00 ", 360_000), ("0:59:59", 3599), ("2-01:00", 176_400)],
)
def test_a_duration(text: str, seconds: int) -> None:
    assert seconds_of(text) == time_limit(text, "--stop-after") == seconds


@pytest.mark.parametrize("text", ["", "90", "1:60", "0:00", "0:00:00", "-1:00", "1:00:00:00", "1h", "\u0661:00", "1:5"])
def test_what_is_none_is_refused_with_the_way_out(text: str) -> None:
    assert seconds_of(text) is None
    with pytest.raises(ConfigError, match=r"--stop-after .* is not possible: .*H:MM"):
        time_limit(text, "--stop-after")


@pytest.mark.parametrize("seconds", [0, -1.0, float("inf"), float("nan")])
def test_a_number_of_seconds(seconds: float) -> None:
    assert time_limit(90.5, "stop_after") == 90.5
    with pytest.raises(ConfigError, match="stop_after"):
        time_limit(seconds, "stop_after")
