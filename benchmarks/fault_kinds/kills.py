"""Commands that are killed at a random moment, and run again: nothing is half, and in the end all is as it would be."""

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from fault_kinds.attack import CRASH, HARMLESS, LOST, SILENT, Attack, Finished, call, fresh
from fault_kinds.jobs import JOBS, Job, parts_in, prints, results

KILLED = JOBS[:6]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
N_KILLS = 6  # of each command by each signal
ENDS = {signal.SIGKILL: {-signal.SIGKILL}, signal.SIGTERM: {143}, signal.SIGINT: {130}}


def kills(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Kill commands; a training goes on with --resume where there is a checkpoint."""
    for job in KILLED if share == 1 else KILLED[2:4]:
        whole = fresh(made, "whole")
        begun = time.monotonic()
        done = _run(made, job, whole)
        took = time.monotonic() - begun
        truth = prints(whole)
        if done.code:
            raise RuntimeError(f"{job.name}: {done.err}")
        for signal_number in SIGNALS:
            for moment in (took * draw.random(max(1, round(N_KILLS * share)))).tolist():
                name = f"{job.name} {signal.Signals(signal_number).name} after {moment:.2f} s"
                yield name, partial(_kill, made, job, signal_number, moment, truth)


def _kill(made: Path, job: Job, number: signal.Signals, moment: float, truth: dict[str, bytes]) -> str:
    place = fresh(made, "killed")
    first = _run(made, job, place, kill=(number, moment))
    if first.code and (first.is_crash or first.code not in ENDS[number]):
        return f"{CRASH}: ended with {first.code}: {first.err.strip()[-200:]}"
    try:
        results(place)
    except (OSError, ValueError, RuntimeError) as error:
        return f"{SILENT}: a half file: {error}"
    has_checkpoint = (place / job.out / "last.ckpt").exists()
    again = _run(made, job, place, *(["--resume"] if has_checkpoint else []))
    if again.code:
        return f"{LOST}: the next run fails: {again.err.strip()[-250:]}"
    left = parts_in(place)
    if left:
        return f"{LOST}: left behind after the next run: {left[0]}"
    differing = [name for name, found in prints(place).items() if truth.get(name) != found]
    return f"{SILENT}: {differing[0]} is not what a whole run gives" if differing else HARMLESS


def _run(made: Path, job: Job, place: Path, *more: str, kill: tuple[int, float] | None = None) -> Finished:
    return call(*job.to(place), *more, cwd=made, env={"FSCXR_CACHE": str(place / "cache")}, kill=kill)
