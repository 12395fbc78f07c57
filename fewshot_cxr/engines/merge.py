"""What committed shards say together, in the order of the table's rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot_cxr._kinds import EMBEDDINGS, refuse_other_kind
from fewshot_cxr.embeddings import Embeddings, warn_of_collapse
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.engines.plan import Plan
from fewshot_cxr.engines.shard import Shard, read_shard
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Problem, Record, Records
from fewshot_cxr.whole_files import whole_file

_MOST_PROBLEMS = 10_000  # that are kept to be told; all are in the shards
_NPY_BYTES = 118  # of the text in its head: with the ten before it a multiple of 64, whatever the shape


@dataclass(frozen=True)
class Summary:
    """What is in all shards: rows of the table, those with a vector or an answer, the first problems, all of them."""

    n_rows: int
    n_done: int
    problems: tuple[Problem, ...]
    n_problems: int
    notes: tuple[str, ...]


def shards_of(plan: Plan) -> Iterator[Shard]:
    """Yield all shards in the order of the rows; errors are those of `read_shard`."""
    for shard in range(plan.table.n_shards):
        yield read_shard(plan, shard)


def summarise(plan: Plan, take: Callable[[Shard], None] | None = None) -> Summary:
    """Read all shards, which checks that each row is in them once.

    Args:
        plan: that they are of.
        take: called with each of them.
    """
    problems, notes = list[Problem](), dict[str, None]()
    n_done = n_problems = 0
    for shard in shards_of(plan):
        n_done, n_problems = n_done + len(shard.rows), n_problems + len(shard.problems)
        problems += shard.problems[: _MOST_PROBLEMS - len(problems)]
        if len(notes) < _MOST_PROBLEMS:
            notes |= dict.fromkeys(shard.notes)
        if take is not None:
            take(shard)
    return Summary(plan.table.n_rows, n_done, tuple(problems), n_problems, tuple(notes))


def merged_embeddings(plan: Plan, encoder: Encoder) -> Embeddings:
    """Return the embeddings of all shards, as `embed` returns those of a manifest; they are whole in memory.

    Args:
        plan: of an `Embedding`.
        encoder: its encoder.

    Raises:
        FileNotFoundError: no film could be read.
    """
    parts, films = list[np.ndarray](), list[Record]()
    for shard in shards_of(plan):
        parts.append(_vectors(shard))
        films += [
            Record(path, (finding,), patient_id=patient, group_id=group, source=source)
            for path, finding, patient, group, source in shard.told["films"]
        ]
    if not films:
        raise FileNotFoundError(f"none of {plan.table.n_rows} films is readable")
    vectors = np.concatenate(parts)
    warn_of_collapse(vectors, "embedding")
    records = Records(tuple(films), Path(plan.table.root))
    return with_facts(vectors, records, distance=encoder.card.get("distance"), weights=encoder.origin)


def save_vectors(plan: Plan, path: Path) -> None:
    """Write the vectors of all shards as one `.npy`, in constant memory.

    Raises:
        FileExistsError: a file of another kind is there.
    """
    refuse_other_kind(path, EMBEDDINGS[".npy"])
    with whole_file(path) as part, part.open("wb") as file:
        shape = (0, 0)
        file.write(_npy_head(shape))
        for shard in shards_of(plan):
            vectors = _vectors(shard)
            file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
            shape = (shape[0] + len(vectors), vectors.shape[1])
        file.seek(0)
        file.write(_npy_head(shape))


def answer_rows(plan: Plan) -> Iterator[Sequence[str]]:
    """Yield the rows of the answers to all films, in constant memory."""
    for shard in shards_of(plan):
        yield from shard.told["answers"]


def _vectors(shard: Shard) -> np.ndarray:
    if shard.vectors is None:
        raise ValueError("these are shards of answers, which have no vectors")
    return shard.vectors


def _npy_head(shape: tuple[int, int]) -> bytes:
    # NumPy's own writer is of its format 1.0, too; of unlike lengths for unlike shapes.
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).ljust(_NPY_BYTES - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
