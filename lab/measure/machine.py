"""Describe the machine of a run, and measure the memory of its process."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from lab.stores import STORES

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
# What figures depend on beside the stores' engines.
PACKAGES = (
    "polyglot-lab", "adbc-driver-sqlite", "duckdb", "matplotlib", "numpy", "polars", "pyarrow", "pydantic", "sqlglot",
    "sqlite-utils",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Return the processor, the cores that this process may use, memory in bytes, system and Python."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine(),
        "cores": cores,
        "memory_bytes": memory,
        # Without the build name of a kernel, which says nothing to a reader.
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """The versions of the libraries that the figures depend on, the engines of all stores among them."""
    found = {}
    for name in sorted({*PACKAGES, *(package for spec in STORES.values() for package in spec.packages)}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


# The highest peak that has been forgotten: what a whole run took is known although its parts are measured.
_highest = 0


def give_back() -> None:
    """Collect what refers to itself, and give free memory back to the system, where its allocator can be asked (glibc).

    Done between the steps of a run, in which Python's collector rests: nothing is timed meanwhile.
    """
    gc.collect()
    pa.default_memory_pool().release_unused()
    if _TRIM is not None:
        _TRIM(0)


def _trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`; None on systems that have none."""
    try:
        found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):
        return None
    return found


_TRIM = _trim()


def forget_peak() -> None:
    """Reset the peak of resident memory, if the kernel lets a process do that (Linux)."""
    global _highest
    _highest = max(_highest, peak_rss_bytes())
    try:
        CLEAR.write_text("5")
    except OSError:
        return


def highest_rss_bytes() -> int:
    """Return the peak of resident memory since the process started, in bytes."""
    return max(_highest, peak_rss_bytes())


def peak_rss_bytes() -> int:
    """Return the peak of resident memory since `forget_peak`, in bytes (on Linux only; elsewhere since the start)."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
