"""Memory of this process, and of the machine."""

from __future__ import annotations

import ctypes
import os

_UNKNOWN = 2 << 30  # bytes that are taken to be free where the system does not say


def peak_memory() -> int:
    """The most bytes that this process has had resident, its starter's not counted (getrusage inherits them); 0 where
    the system does not say.
    """
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0


def free_memory() -> int:
    """Bytes of the machine's memory that are free now."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _of_windows() or _pages("SC_AVPHYS_PAGES") or _pages("SC_PHYS_PAGES") // 2 or _UNKNOWN


def _pages(name: str) -> int:
    """Pages of memory by a name of sysconf, in bytes; 0 where the system does not know it (macOS: no free ones)."""
    try:
        return max(0, os.sysconf(name) * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 0


class _Status(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
        (name, ctypes.c_uint64)
        for name in ("total", "free", "total_pages", "free_pages", "total_virtual", "free_virtual", "free_extended")
    ]


def _of_windows() -> int:
    """0 on other systems."""
    windows = getattr(ctypes, "windll", None)
    status = _Status(length=ctypes.sizeof(_Status))
    return int(status.free) if windows and windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
