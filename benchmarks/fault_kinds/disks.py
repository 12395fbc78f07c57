"""Disks that are full, and folders that cannot be written: told in one line, nothing half, what was there stays."""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from fault_kinds.attack import CRASH, HARMLESS, LOST, REFUSED, SILENT, Attack, Finished, call, fresh
from fault_kinds.jobs import JOBS, Job, files_in, parts_in, prints

N_FULL = 7  # disks for each command
CAP_DAC_OVERRIDE, CAPABILITIES_3 = 1, 0x20080522


def full(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Run each command with an output on a disk that has no room for all of it."""
    fill = _mounted if may_mount(made) else _limited
    for job in JOBS if share == 1 else JOBS[2:4]:
        place = fresh(made, "roomy")
        done = _run(made, job, place)
        if done.code:
            raise RuntimeError(f"{job.name}: {done.err}")
        n_bytes = sum(file.stat().st_size for file in files_in(place))
        for part in draw.random(max(1, round(N_FULL * share))).tolist():
            yield f"{job.name} on {part:.0%} of its room", partial(fill, made, job, int(part * n_bytes), prints(place))


def read_only(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Run each command with an output in a folder that it may not write."""
    for job in JOBS if share == 1 else JOBS[2:4]:
        yield f"{job.name} into a folder of another user", partial(_into_read_only, made, job)


def _into_read_only(made: Path, job: Job) -> str:
    place = fresh(made, "read_only")
    cache = fresh(made, "open_cache")
    place.chmod(0o555)
    done = call(*job.to(place), cwd=made, env={"FSCXR_CACHE": str(cache)}, before=heed_modes)
    place.chmod(0o755)
    return _refused(done, place)


def heed_modes() -> None:
    """Give up the right to write where modes forbid it, which root has on Linux."""
    if os.getuid() == 0 and sys.platform == "linux":
        kernel = ctypes.CDLL(None)
        head = (ctypes.c_uint32 * 2)(CAPABILITIES_3, 0)
        rights = (ctypes.c_uint32 * 6)()
        if kernel.capget(head, rights) == 0:
            for place in (0, 1, 2):
                rights[place] &= ~(1 << CAP_DAC_OVERRIDE)
            kernel.capset(head, rights)


def _mounted(made: Path, job: Job, n_bytes: int, truth: dict[str, bytes]) -> str:
    place = fresh(made, "disk")
    with small_disk(place, n_bytes):
        return _outcome(_run(made, job, place), place, truth)


def _limited(made: Path, job: Job, n_bytes: int, truth: dict[str, bytes]) -> str:
    place = fresh(made, "limited")
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
    return _outcome(_run(made, job, place, before=limit), place, truth)


def _outcome(done: Finished, place: Path, truth: dict[str, bytes]) -> str:
    if done.code:
        return _refused(done, place)
    try:
        found = prints(place)
    except (OSError, ValueError, RuntimeError) as error:
        return f"{SILENT}: exit code 0, and a half file: {error}"
    return HARMLESS if found == truth else f"{SILENT}: exit code 0, and another result"


def _refused(done: Finished, place: Path) -> str:
    if done.is_crash or not done.error or str(place) not in done.error:
        return f"{CRASH}: names no file: {(done.err.strip().splitlines() or [str(done.code)])[-1]}"
    try:
        prints(place)
    except (OSError, ValueError, RuntimeError) as error:
        return f"{SILENT}: a half file: {error}"
    return f"{LOST}: left behind: {parts_in(place)[0]}" if parts_in(place) else REFUSED


def _run(made: Path, job: Job, place: Path, before: Callable[[], None] | None = None) -> Finished:
    return call(*job.to(place), cwd=made, before=before)


@contextmanager
def small_disk(place: Path, n_bytes: int) -> Iterator[None]:
    size = max(1, n_bytes // 1024)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", place]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True, capture_output=True)


def may_mount(made: Path) -> bool:
    try:
        with small_disk(fresh(made, "tried"), 1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
