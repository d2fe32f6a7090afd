"""Measures what a stage costs: seconds, CPU seconds, peak memory."""

import resource
import time
from contextlib import suppress
from pathlib import Path

import torch


class Meter:
    """Seconds, CPU seconds and peak memory of one stage, continued after a resume."""

    def __init__(self, earlier: dict[str, float] | None = None) -> None:
        self.earlier = earlier or {}
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        with suppress(OSError):  # Linux: restart the peak of this process
            Path("/proc/self/clear_refs").write_text("5")
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def read(self) -> dict[str, float]:
        """Figures since the stage began: seconds, CPU seconds, MiB."""
        return {
            "seconds": self.earlier.get("seconds", 0.0) + time.perf_counter() - self.wall,
            "cpu_seconds": self.earlier.get("cpu_seconds", 0.0) + time.process_time() - self.cpu,
            "peak_memory_mb": max(self.earlier.get("peak_memory_mb", 0.0), peak_memory_mb()),
        }


def peak_memory_mb() -> float:
    """Peak resident memory of this process since the last reset, in MiB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
