"""One shard: what is in its file, made and committed, or read and checked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fewshot_cxr.engines.decoded import DecodedShard
from fewshot_cxr.engines.places import at_hand, commit
from fewshot_cxr.engines.plan import Plan
from fewshot_cxr.engines.work import Work
from fewshot_cxr.records import Problem
from fewshot_cxr.storage import load_tensors, save_tensors

_KIND = "shard"


@dataclass(frozen=True, eq=False)
class Shard:
    """What a committed shard holds.

    Args:
        rows: ids of the rows in it, int64 (n,), ascending.
        vectors: of an embedding, float32 (n, dim).
        told: JSON values: of each row, `films` or `answers`.
        problems: rows without a vector, and why.
        notes: on the decoding.
    """

    rows: np.ndarray
    vectors: np.ndarray | None
    told: dict[str, Any]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def commit_shard(plan: Plan, work: Work, shard: int, films: DecodedShard, device: torch.device) -> None:
    """Embed, or answer for, the films of a shard, and commit it."""
    tensors, told = work.done(films, plan.batch_size, device)
    problems = [[int(films.rows[at]), films.films[at].path, why] for at, why in sorted(films.problems.items())]
    header = {"plan": plan.digest, "shard": shard, "problems": problems, "n_passed": films.n_passed}
    header |= {"notes": list(films.notes), "told": told}
    commit(plan.address(shard), lambda path: save_tensors(path, tensors, kind=_KIND, header=header))


def read_shard(plan: Plan, shard: int) -> Shard:
    """Read a committed shard, and check that each of its rows is in it once.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it is damaged.
        ValueError: it is of another plan, or a row is missing in it or twice.
    """
    address = plan.address(shard)
    with at_hand(address) as file:
        try:
            tensors, header = load_tensors(file, kind=_KIND)
        except FileNotFoundError:
            raise FileNotFoundError(f"{address} is not there: run this again, which goes on") from None
        except OSError as error:
            raise OSError(f"{address} is damaged: delete it and run this again, which goes on ({error})") from error
    rows = tensors["rows"].numpy()
    found = {*rows.tolist(), *(row for row, _, _ in header["problems"])}
    span, n_passed = plan.table.span(shard), header["n_passed"]
    is_once = (np.diff(rows) > 0).all() and len(found) + n_passed == len(span) and all(row in span for row in found)
    if header["plan"] != plan.digest or header["shard"] != shard or not is_once:
        raise ValueError(f"{address} does not hold each of its rows once: delete it and run this again, which goes on")
    vectors = tensors["vectors"].numpy() if "vectors" in tensors else None
    problems = tuple(Problem(row + 1, path, why, "unreadable") for row, path, why in header["problems"])
    return Shard(rows, vectors, header["told"], problems, tuple(header["notes"]))
