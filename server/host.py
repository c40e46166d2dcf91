"""The machine that agents run on."""

import psutil

MIN_FREE_MEMORY_MB = 500
MAX_CPU_PERCENT = 80.0


def has_room() -> bool:
    """Whether another agent could start: more than 500 MiB of memory and 20 % of the CPU are free (R-100, G-19)."""
    free_mb = psutil.virtual_memory().available / 2**20
    return bool(free_mb > MIN_FREE_MEMORY_MB and psutil.cpu_percent(0.1) < MAX_CPU_PERCENT)
