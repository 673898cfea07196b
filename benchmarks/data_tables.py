"""The tables of docs/ about data: the synthetic songs, and what a conversion costs. `performance_tables.py` writes them."""

from __future__ import annotations

from typing import Any

from pages import date_of, source, table


def synthetic_songs(found: dict[str, Any]) -> str:
    result = found["synthetic-songs"]
    return table(("figure", "value"), [(name, f"{value:.4g}") for name, value in result["figures"].items()])


def data_convert(found: dict[str, Any]) -> str:
    result = found["data-convert"]
    convert = result["convert"]
    generate = result["generate 515,345 synthetic songs, in memory"]
    lines = [
        ("conversion, MB per second, imports included (median of 3)", f"{convert['mb_per_s_median']:.1f}"),
        ("conversion, MB per second of processor time", f"{convert['mb_per_cpu_s_median']:.1f}"),
        ("largest resident memory of a conversion, MiB", str(convert["largest_resident_mib"])),
        ("processor seconds to generate the songs", str(generate["cpu_s"])),
        ("seconds to load half of train", str(result["load a rank's half of train"]["inside_s"])),
        ("seconds to check every checksum", str(result["check every sha256"]["inside_s"])),
    ]
    return table((f"measured {date_of(result)[:10]}", ""), lines)


def predict(found: dict[str, Any]) -> str:
    """Seconds and memory from file to file, and how many times as fast as the program of pandas that ran beside it."""
    result = found["predict"]
    lines = [
        (
            name,
            f"{row['wall_s']:.1f} ({min(row['wall_s_all']):.1f} to {max(row['wall_s_all']):.1f})",
            f"{row['times_as_fast']:.2f}",
            f"{row['resident_mib']:,} MiB",
        )
        for name, row in result["rows"].items()
    ]
    heads = ("", "seconds: median (least to most)", "times as fast as the second row", "largest resident memory")
    return table(heads, lines) + source(result)


def spark_convert(found: dict[str, Any]) -> str:
    result = found["spark-convert"]
    lines = [
        ("rows and features", f"{result['rows']:,} x {result['features']}"),
        (
            "memory of the driver, and of each of two executors",
            f"{result['driver_memory']}, {result['executor_memory']}",
        ),
        ("seconds to the whole dataset directory", f"{result['seconds']:.0f}"),
        ("size of the dataset directory, MiB", f"{result['dataset_mib']:,}"),
        ("largest resident memory of the driver's Python, MiB", f"{result['driver_python_mib']:,}"),
        ("largest resident memory of the driver's Java, MiB", f"{result['driver_java_mib']:,}"),
    ]
    return table((f"PySpark {result['pyspark']}", ""), lines) + source(result)
