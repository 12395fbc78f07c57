"""Episodes in a file: written in constant memory, read by memory map, replayed on the same films in any order.

A film is known by its finding and its path, so that rows may be shuffled and films added. No patient is named in the
file; that support and query share none is checked anew, against the patients of the films at hand.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fewshot_cxr._checks import check_whole
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes.block import EpisodeBlock
from fewshot_cxr.episodes.file_header import KIND, TENSORS, list_films, open_episodes
from fewshot_cxr.episodes.spool import Int32Spool
from fewshot_cxr.storage import save_streams

_BLOCK_CELLS = 1 << 20  # row numbers in work at once: some MB, whatever n_episodes is


class EpisodeSource(Protocol):
    """What gives episodes in blocks: drawn ones, those of a file, the folds of a support set.

    Examples:
        >>> from fewshot_cxr import Embeddings, Episodes
        >>> def count_queries(episodes: EpisodeSource) -> int:
        ...     return sum(block.query.size for block in episodes.blocks())
        >>> films = Embeddings(np.eye(6), ["covid19", "normal"] * 3)
        >>> count_queries(Episodes.draw(films, n_shot=1, n_query=2, n_episodes=10))  # 10 of 2 findings each
        40
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the `class_ids` of blocks index into."""

    @property
    def n_way(self) -> int:
        """Classes in an episode."""

    @property
    def n_episodes(self) -> int:
        """How many episodes `blocks` gives."""

    @property
    def seed(self) -> int:
        """What the draws follow from."""

    @property
    def hash(self) -> str:
        """SHA-256 (hex): equal hashes are identical episodes, film by film."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was shrunk, skipped or left out."""

    def to_json(self) -> dict[str, Any]:
        """Return the protocol in plain values."""

    def block(self, first: int, size: int) -> EpisodeBlock:
        """Return the episodes first .. first+size-1."""

    def blocks(self, size: int | None = None) -> Iterator[EpisodeBlock]:
        """Return all episodes in order, `size` at a time."""


def save_episodes(
    episodes: EpisodeSource,
    films: Embeddings,
    path: str | Path,
    *,
    drawn_for: Mapping[str, Any] | None = None,
    progress: Bar | None = None,
) -> None:
    """Write episodes to one safetensors file, whole or not at all, block by block.

    The file holds int32 tensors `class_ids` (n, n_way), `support` (n, n_way, max_shot), `query` (n, n_way, max_query)
    and, where there is one, `outside` (n, n_outside): positions in the header's list of films, -1 where there is none.

    Args:
        episodes: drawn over `films`.
        films: their paths name the films; without paths row numbers do, and replay then needs the very same rows.
        path: the file, replaced whole.
        drawn_for: plain values that say what was asked; they come back as `protocol["drawn_for"]`.
        progress: called with (episodes done, n_episodes).

    Raises:
        ValueError: `films` are not those that the episodes were drawn over.

    Examples:
        >>> import tempfile
        >>> from fewshot_cxr import Episodes
        >>> films = Embeddings(np.eye(6), ["covid19", "normal"] * 3, paths=[f"{film}.png" for film in range(6)])
        >>> episodes = Episodes.draw(films, n_shot=1, n_query=2, n_episodes=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_episodes(episodes, films, f"{folder}/episodes.safetensors")
        ...     print(SavedEpisodes.load(f"{folder}/episodes.safetensors", films).hash == episodes.hash)
        True
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    is_used = np.zeros(len(films) + 1, dtype=bool)
    with ExitStack() as stack:
        spools: dict[str, Int32Spool] = {}
        for block in episodes.blocks():
            _check_drawn_over(episodes, block, films)
            rows_of = {name: rows for name in TENSORS if (rows := getattr(block, name)) is not None}
            for name, rows in rows_of.items():
                if name not in spools:
                    spools[name] = Int32Spool(stack.enter_context(tempfile.TemporaryFile(dir=path.parent)))
                spools[name].add(rows)
                if name != "class_ids":
                    is_used[rows.ravel()] = True
            tell(progress, block.first + len(block), episodes.n_episodes)
        listed, rows = list_films(films, is_used[:-1])
        # Padding is -1, which as an index is the last cell: that cell holds -1.
        position = np.full(len(films) + 1, -1, dtype=np.int32)
        position[rows] = np.arange(len(rows), dtype=np.int32)
        streams = {name: spool.stream(None if name == "class_ids" else position) for name, spool in spools.items()}
        header = {
            "protocol": episodes.to_json() | ({} if drawn_for is None else {"drawn_for": dict(drawn_for)}),
            "hash": episodes.hash,
            "notes": list(episodes.notes),
            "class_names": list(episodes.class_names),
            "films": listed,
        }
        save_streams(path, streams, kind=KIND, header=header)


class SavedEpisodes:
    """Episodes of a file, for replay on the films at hand. They are read from the disk block by block.

    `hash` is that of the episodes that were saved: results on both are comparable.

    Args:
        path: what `save_episodes` wrote; it must stay where it is while the episodes are in use.
        films: the films it names, in any order; further films do no harm.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else or is of a newer format; a film is missing; support and query of
            an episode share a patient now.
        OSError: the file is damaged.

    Examples:
        >>> import tempfile
        >>> from fewshot_cxr import Episodes
        >>> films = Embeddings(np.eye(6), ["covid19", "normal"] * 3, paths=[f"{film}.png" for film in range(6)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_episodes(Episodes.draw(films, n_shot=1, n_query=2), films, f"{folder}/episodes.safetensors")
        ...     saved = SavedEpisodes(f"{folder}/episodes.safetensors", films.take([5, 3, 1, 0, 2, 4]))
        ...     print(saved.n_episodes, saved.n_way, saved.first(10).n_episodes)
        1000 2 10
    """

    def __init__(self, path: str | Path, films: Embeddings) -> None:
        self._tensors, header, rows = open_episodes(path, films)
        self._row_of_film = np.append(rows, -1)
        here = {name: index for index, name in enumerate(films.class_names)}
        self._class_of_class = np.array([here.get(name, -1) for name in header["class_names"]], dtype=np.int64)
        self.n_episodes, self.n_way = self._tensors["class_ids"].shape
        self.class_names, self.hash, self.notes = films.class_names, header["hash"], tuple(header["notes"])
        self.protocol, self.seed = header["protocol"], header["protocol"]["seed"]
        self._check(path, films)

    @classmethod
    def load(cls, path: str | Path, films: Embeddings) -> "SavedEpisodes":
        """Open a file; see the class."""
        return cls(path, films)

    def first(self, n_episodes: int) -> "SavedEpisodes":
        """Return the first episodes, all of them where there are no more."""
        if n_episodes >= self.n_episodes:
            return self
        some = copy(self)
        some.n_episodes, some.protocol = n_episodes, {**self.protocol, "n_episodes": n_episodes}
        some.hash = hashlib.sha256(f"{self.hash} {n_episodes}".encode()).hexdigest()  # equal ones are equal episodes
        return some

    def to_json(self) -> dict[str, Any]:
        """Return the protocol of the episodes that were saved, in plain values."""
        return dict(self.protocol)

    def blocks(self, size: int | None = None) -> Iterator[EpisodeBlock]:
        """Read the episodes in order, `size` at a time (None: as many as keep memory small)."""
        n_cells = sum(int(np.prod(tensor.shape[1:])) for tensor in self._tensors.values())
        size = size or max(16, min(4096, _BLOCK_CELLS // n_cells))
        for first in range(0, self.n_episodes, size):
            yield self.block(first, min(size, self.n_episodes - first))

    def block(self, first: int, size: int) -> EpisodeBlock:
        """Read the episodes first .. first+size-1.

        Raises:
            ValueError: the file has fewer.
        """
        check_whole(first, "first", 0)
        check_whole(size, "size", 1)
        if first + size > self.n_episodes:
            raise ValueError(f"the file has {self.n_episodes} episodes, {first + size} were asked for; draw more")
        parts = {name: tensor[first : first + size] for name, tensor in self._tensors.items()}
        class_ids = self._class_of_class[parts.pop("class_ids")]
        rows = {name: self._row_of_film[part] for name, part in parts.items()}
        if (np.diff(class_ids, axis=1) < 0).any():  # the findings have another order here
            order = np.argsort(class_ids, axis=1)
            class_ids = np.take_along_axis(class_ids, order, axis=1)
            for name in ("support", "query"):
                rows[name] = np.take_along_axis(rows[name], order[:, :, None], axis=1)
        return EpisodeBlock(first, class_ids, rows["support"], rows["query"], rows.get("outside"))

    def _check(self, path: str | Path, films: Embeddings) -> None:
        """Refuse films that are not of the class they stand under, and patients on both sides."""
        n_listed = len(self._row_of_film) - 1
        for name, tensor in self._tensors.items():
            top = len(self._class_of_class) if name == "class_ids" else n_listed
            bottom = -1 if name in ("support", "query") else 0
            if tensor.size and not (tensor.min() >= bottom and tensor.max() < top):
                raise ValueError(f"{path}: {name} holds numbers without a film; make the file anew")
        for block in self.blocks():
            for rows in (block.support, block.query):
                if (~_has_finding(films, rows, block.class_ids[:, :, None]) & (rows >= 0)).any():
                    raise ValueError(f"{path}: a film stands under a finding that is not its own; make the file anew")
            episode, row = _shared_patient(block, films.patient_ids)
            if row >= 0 and not self.protocol.get("allow_patient_overlap", False):
                film = films.film_names[row]
                raise ValueError(
                    f"{path}: episode {block.first + episode} asks for {film}, whose patient is in its support too; "
                    "the films have other patients now than when it was saved: draw the episodes anew"
                )


def _has_finding(films: Embeddings, rows: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    has: np.ndarray = (
        films.class_ids[rows, class_ids] == 1 if films.is_multi_label else films.class_ids[rows] == class_ids
    )
    return has & (class_ids >= 0)


def _check_drawn_over(episodes: EpisodeSource, block: EpisodeBlock, films: Embeddings) -> None:
    """Refuse films that the episodes cannot have been drawn over."""
    here = {name: index for index, name in enumerate(films.class_names)}
    class_ids = np.array([here.get(name, -1) for name in episodes.class_names], dtype=np.int64)[block.class_ids]
    for rows in (block.support, block.query, block.outside):
        if rows is not None and rows.size and rows.max() >= len(films):
            raise ValueError(
                f"the episodes were drawn over other films: they name row {rows.max()}, and there are {len(films)} "
                "films; save them with the embeddings they were drawn over"
            )
    for rows in (block.support, block.query):
        is_wrong = ~_has_finding(films, rows, class_ids[:, :, None]) & (rows >= 0)
        if is_wrong.any():
            episode, way, place = (int(index[0]) for index in np.nonzero(is_wrong))
            name = episodes.class_names[block.class_ids[episode, way]]
            raise ValueError(
                f"the episodes were drawn over other films: row {rows[episode, way, place]} stands under {name}, which "
                "is not its finding here; save them with the embeddings they were drawn over"
            )


def _shared_patient(block: EpisodeBlock, patient_ids: np.ndarray) -> tuple[int, int]:
    """Return the position of the first episode with a patient on both sides and the row asked for; (-1, -1): none."""
    sides = [side.reshape(len(block), -1) for side in (block.support, block.query, block.outside) if side is not None]
    support, asked = sides[0], np.concatenate(sides[1:], axis=1)
    patients = np.where(asked >= 0, patient_ids[asked], -1)
    is_shared = np.zeros(asked.shape, dtype=bool)
    for column in np.where(support >= 0, patient_ids[support], -2).T:
        is_shared |= patients == column[:, None]
    if not is_shared.any():
        return -1, -1
    episode, place = (int(index[0]) for index in np.nonzero(is_shared))
    return episode, int(asked[episode, place])
