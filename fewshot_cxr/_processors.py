"""How many processors there are for this process."""

import math
import os
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of all processors, and in how many of the clock


def n_processors() -> int:
    """Return on how many processors this process may run: those it is bound to, and no more than its container's share.

    On a shared machine a scheduler gives a job few of many.
    """
    n_bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or "max" of one without a limit
        share, period = map(int, _QUOTA.read_text(encoding="ascii").split())
        return max(1, min(n_bound, math.ceil(share / period)))
    return n_bound
