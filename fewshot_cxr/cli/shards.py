"""Very many films, shard by shard: the flags that `fscxr embed` and `fscxr predict` share, and the run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fewshot_cxr import engines
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.cli.console import bars_for, say, say_notes
from fewshot_cxr.cli.flags import as_one
from fewshot_cxr.cli.sources import Reading
from fewshot_cxr.records import count_reasons
from fewshot_cxr.workflows.compute import Compute

if TYPE_CHECKING:
    from fewshot_cxr.engines import Plan, Work
    from fewshot_cxr.engines.shard import Shard

_COLUMNS = ("path", "label", "group", "patient")
_TAKEN = {"root", "path_suffix", "patient_pattern", "any_modality", *(f"{name}_column" for name in _COLUMNS)}
_MOST_NOTES = 5


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """Where shards go, and what makes them.

    Args:
        folder: of the shards, or its address; None: nobody asked for shards.
        engine: "local" or "ray".
        address: of the cluster.
        rows_per_shard: rows of the table in each.
    """

    folder: str | None
    engine: str
    address: str | None
    rows_per_shard: int

    def __post_init__(self) -> None:
        if self.folder is None and (self.engine != "local" or self.address is not None):
            raise click.UsageError("--engine and --address make shards: say where they go (--shards FOLDER)")
        if self.engine == "local" and self.address is not None:
            raise click.UsageError("--address is of a cluster: add --engine ray")


shards_flags = as_one(
    "sharding",
    Sharding,
    click.option("--shards", "folder", help="Of a table of any size: keep what is made in shards there, and go on."),
    click.option(
        "--engine", default="local", type=click.Choice(["local", "ray"]), help="With --shards: what makes them."
    ),
    click.option("--address", help="With --engine ray: of the cluster.  [default: RAY_ADDRESS, else this machine]"),
    click.option("--rows-per-shard", default=1000, type=click.IntRange(1), help="With --shards: rows in each."),
)


def make_shards(
    work: Work, source: str, sharding: Sharding, compute: Compute, reading: Reading, *, split: str | None = None
) -> Plan:
    """Make the shards of a table that are not there yet; return the plan that they are of.

    Args:
        work: what films go through.
        source: the table, or its address.
        sharding: where shards go.
        compute: on what.
        reading: how the table is read.
        split: the films of this one alone.
    """
    plan = _plan(work, source, sharding, compute, reading, split=split)
    is_here = "://" not in plan.folder
    with only_writer(Path(plan.folder)) if is_here else nullcontext(), bars_for(compute) as compute:
        plan = plan.begun()
        missing, n_all = plan.missing(), plan.table.n_shards
        if len(missing) < n_all:
            say(f"{n_all - len(missing):,} of {n_all:,} shards are there; going on")
        if sharding.engine == "ray":
            how = {"address": sharding.address, "device": compute.device}
            engines.run_on_ray(plan, work, missing, progress=compute.report("shards"), **how)  # type: ignore[arg-type]  # of their own types
        else:
            engines.run_here(
                plan,
                work,
                missing,
                device=compute.device,
                n_workers=compute.n_workers,
                progress=compute.report("shards"),
            )
    return plan


def say_shards(plan: Plan, take: Callable[[Shard], None] | None = None) -> None:
    """Read all shards, which checks them, and say what is in them.

    Args:
        plan: that they are of.
        take: called with each of them.
    """
    found = engines.summarise(plan, take)
    say_notes(found.notes[:_MOST_NOTES])
    for reason in count_reasons(found.problems):
        say(f"left out: {reason}")
    rows = f"{found.n_rows:,} rows, {found.n_problems:,} of them unreadable"
    say(f"written: {plan.folder}, {plan.table.n_shards:,} shards, {rows}")


def _plan(
    work: Work, source: str, sharding: Sharding, compute: Compute, reading: Reading, *, split: str | None
) -> Plan:
    foreign = sorted(reading.options.keys() - _TAKEN)
    names_findings = reading.is_common or reading.findings is not None
    foreign += ["findings"] * names_findings + ["with_others"] * reading.with_others
    if foreign:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise click.UsageError(f"{flags} looks at all films at once: `fscxr data read` writes a table for --shards")
    given = {name: None if value is None else str(value) for name, value in reading.options.items()}
    if Path(source).is_dir():
        raise click.UsageError(
            f"{source} is a folder: --shards takes a table (`fscxr data read {source} --out films.csv`)"
        )
    table = engines.scan_table(
        source.removeprefix("manifest:"),
        sharding.rows_per_shard,
        root=given.get("root"),
        needs_label=work.kind == "embed",
        columns={name: given.get(f"{name}_column") for name in _COLUMNS},
        path_suffix=given.get("path_suffix") or "",
        patient_pattern=given.get("patient_pattern"),
    )
    return engines.Plan(
        table=table,
        folder=engines.whole_address(sharding.folder or ""),
        kind=work.kind,
        spec=work.spec,
        decides=work.decides(),
        split=split,
        any_modality=reading.any_modality,
        looks_at_pixels=work.looks_at_pixels,
        batch_size=compute.batch_size,
    )
