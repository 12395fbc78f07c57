"""Few-shot episodes as a value: what is drawn follows from seed and episode number alone, and can be replayed.

In every episode support and query share no patient, in no class: a patient who has films of two findings is on one
side for both. Films are drawn patient by patient (one film of each patient before a second one of any), so that five
films are five patients wherever the class has them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_bool, check_list, check_whole, lookup
from fewshot_cxr._html import facts_text
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes.block import EpisodeBlock
from fewshot_cxr.episodes.class_pool import ClassPool
from fewshot_cxr.episodes.draw import EpisodeDraw
from fewshot_cxr.episodes.draw_plan import DrawPlan
from fewshot_cxr.episodes.films import EpisodeFilms
from fewshot_cxr.episodes.policy import POLICIES, check_names, fit_classes, shots_of
from fewshot_cxr.episodes.query_shares import PREVALENCES, most_queries

_BLOCK_FILMS = 51_200  # looked at for a block: what fits the processor's caches, whatever n_episodes is
_OVERLAP = (
    "patients are NOT kept apart: every film counts as a patient of its own, so one patient can be support and query "
    "at once; such figures measure the leak and are too good"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Episodes:
    """n_episodes few-shot problems over labelled rows, drawn on demand in blocks: constant memory.

    Episode i depends on `seed`, i, the protocol and the films alone: not on block size, row order, or patients' names.

    Args:
        class_ids: int64, shape (N,), into `class_names`; or (N, n_findings) with 1 where the film has the finding: it
            may then be drawn for any of them, but for one alone in an episode.
        group_ids: int64, shape (N,): rows of one group (patient) never meet across support and query.
        class_names: findings.
        n_way: classes in an episode; None: all. After construction an int.
        n_shot: support films per class, or a number for each finding by name.
        n_query: query films per class.
        n_episodes: how many.
        seed: of the whole sequence.
        paths: N texts that identify a film within its class; None: its row number does, and row order then matters.
        prevalence: how queries are shared among classes, a name in PREVALENCES.
        if_too_small: what to do with a class that has too few films, a name in POLICIES.
        allow_patient_overlap: count every film as its own patient, only to measure how much that leaks.
        always: findings that are in every episode.
        never: findings that are only ever `outside`.
        may_support: which films may stand on that side, bool, shape (N,); None: all.
        may_query: the same for the other side.
        nested_in: draw so many support films of each class, and show the first n_shot of them: episodes of other shots
            that are nested in as many ask the same queries, and their supports are part of each other. None: n_shot.

    Raises:
        TypeError: a number is not whole, a switch not True or False, or a text stands for a list of findings.
        ValueError: fewer classes than n_way, or a class with too few films or patients; the text names it.

    Examples:
        >>> films = Embeddings(np.eye(12), ["covid19", "normal", "pneumonia"] * 4, [f"patient {n}" for n in range(12)])
        >>> episodes = Episodes.draw(films, n_shot=1, n_query=2, n_episodes=100)
        >>> episodes
        Episodes(episodes: 100; ways: 3; shots: 1; queries: 2; films: 12; seed: 0; prevalence: balanced)
        >>> episodes.block(0, 1).query.shape  # of one episode: three findings, two queries each
        (1, 3, 2)
    """

    class_ids: np.ndarray
    group_ids: np.ndarray
    class_names: tuple[str, ...]
    n_shot: int | Mapping[str, int]
    n_query: int
    n_episodes: int
    seed: int
    n_way: int = None  # type: ignore[assignment]  # an int once the findings have been counted
    paths: tuple[str, ...] | None = None
    prevalence: str = "balanced"
    if_too_small: str = "error"
    allow_patient_overlap: bool = False
    always: Sequence[str] = ()
    never: Sequence[str] = ()
    may_support: np.ndarray | None = None
    may_query: np.ndarray | None = None
    nested_in: int | None = None

    @classmethod
    def draw(
        cls,
        films: Embeddings,
        *,
        n_way: int | None = None,
        n_shot: int | Mapping[str, int] = 5,
        n_query: int = 15,
        n_episodes: int = 1000,
        seed: int = 0,
        **options: Any,
    ) -> "Episodes":
        """Describe the episodes over labelled embeddings; see the class for arguments and errors."""
        settings = options if n_way is None else {"n_way": n_way, **options}
        return cls(
            class_ids=films.class_ids,
            group_ids=films.patient_ids,
            class_names=films.class_names,
            n_shot=n_shot,
            n_query=n_query,
            n_episodes=n_episodes,
            seed=seed,
            paths=films.paths,
            **settings,
        )

    def __repr__(self) -> str:
        facts = {"episodes": f"{self.n_episodes:,}", "ways": f"{self.n_way}", "shots": f"{self.n_shot}"}
        facts |= {"queries": f"{self.n_query}", "films": f"{len(self.class_ids):,}", "seed": f"{self.seed}"}
        return facts_text("Episodes", [*facts.items(), ("prevalence", self.prevalence)])

    def __post_init__(self) -> None:
        lookup(PREVALENCES, self.prevalence, what="prevalence")
        lookup(POLICIES, self.if_too_small, what="if_too_small")
        check_whole(2 if self.n_way is None else self.n_way, "n_way", 2)
        check_whole(self.n_query, "n_query", 1)
        check_whole(self.n_episodes, "n_episodes", 1)
        check_whole(self.seed, "seed")
        shots = self.n_shot if isinstance(self.n_shot, Mapping) else {"": self.n_shot}
        for name, number in shots.items():
            check_whole(number, f"n_shot of {name}" if name else "n_shot", 1)
        if self.nested_in is not None:
            check_whole(self.nested_in, "nested_in", 1)
            if isinstance(self.n_shot, Mapping) or self.n_shot > self.nested_in:
                raise ValueError(
                    f"nested_in is {self.nested_in}, and n_shot {self.n_shot}: it needs one number of shots for all "
                    "classes, of nested_in at most"
                )
        check_bool(self.allow_patient_overlap, "allow_patient_overlap")
        for name in ("always", "never"):
            check_list(getattr(self, name), name)
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("n_query", "n_episodes", "seed"):  # numpy's integers are not JSON's
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "n_way", int(self._plan.n_way))

    def with_seed(self, seed: int) -> "Episodes":
        """Return the episodes of another seed over the same films; what the seed does not decide is not planned again.

        Examples:
            >>> films = Embeddings(np.eye(9), ["covid19", "normal", "pneumonia"] * 3)
            >>> episodes = Episodes.draw(films, n_way=2, n_shot=1, n_query=2)
            >>> episodes.with_seed(7).hash == Episodes.draw(films, n_way=2, n_shot=1, n_query=2, seed=7).hash
            True
        """
        check_whole(seed, "seed")
        other = copy(self)
        object.__setattr__(other, "seed", int(seed))
        for name in ("_draw", "hash"):
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What differs from what was asked for, one sentence each: part of the result."""
        return (*((_OVERLAP,) if self.allow_patient_overlap else ()), *self._plan.notes)

    def to_json(self) -> dict[str, Any]:
        """Return the protocol in plain values."""
        shots, masks = self.n_shot, {"may_support": self.may_support, "may_query": self.may_query}
        return {
            "n_way": self.n_way,
            "n_shot": {name: int(n) for name, n in shots.items()} if isinstance(shots, Mapping) else int(shots),
            "n_query": self.n_query,
            "n_outside": self._plan.n_outside,
            "n_episodes": self.n_episodes,
            "seed": self.seed,
            "prevalence": self.prevalence,
            "if_too_small": self.if_too_small,
            "allow_patient_overlap": self.allow_patient_overlap,
            "always": list(self.always),
            "never": list(self.never),
            **{f"n_{name}": None if mask is None else int(np.sum(mask)) for name, mask in masks.items()},
            **({} if self.nested_in is None else {"nested_in": int(self.nested_in)}),
            "notes": list(self.notes),
        }

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of all that decides the draws: equal hashes are identical episodes, film by film."""
        protocol = {**self.to_json(), "seed": self.seed % 2**64, "notes": []}
        is_choice = self.n_way < len(self._plan.pools)  # where all findings are in, none is more so than others
        protocol["always"], protocol["never"] = sorted(self.always) if is_choice else [], sorted(self.never)
        text = json.dumps(protocol, sort_keys=True)
        return hashlib.sha256(text.encode() + self._films.digest()).hexdigest()

    def blocks(self, size: int | None = None) -> Iterator[EpisodeBlock]:
        """Draw the episodes in order, `size` at a time (None: as many as are quick and keep memory small)."""
        size = size or max(16, min(4096, _BLOCK_FILMS // self._plan.n_looked_at))
        for first in range(0, self.n_episodes, size):
            yield self.block(first, min(size, self.n_episodes - first))

    def block(self, first: int, size: int) -> EpisodeBlock:
        """Draw the episodes first .. first+size-1, also beyond n_episodes.

        Raises:
            ValueError: patients shared between classes leave too few query films, in any of many attempts.
        """
        check_whole(first, "first", 0)
        check_whole(size, "size", 1)
        block = self._draw.block(first, size)
        if self.nested_in is None:
            return block
        return replace(block, support=np.ascontiguousarray(block.support[:, :, : self.n_shot]))

    @cached_property
    def _films(self) -> EpisodeFilms:
        return EpisodeFilms(
            self.class_ids,
            np.arange(len(self.class_ids)) if self.allow_patient_overlap else self.group_ids,
            self.class_names,
            paths=self.paths,
            masks=(self.may_support, self.may_query),
        )

    @cached_property
    def _plan(self) -> DrawPlan:
        """Settle which findings may be in an episode, and how many films each gives."""
        known = {name: self._films.pool(self.class_names.index(name)) for name in sorted(self._films.present_names)}
        check_names({"always": self.always, "never": self.never}, set(known), self.class_names)
        names = [name for name in known if name not in self.never]
        asked: int | None = self.n_way
        n_way = max(2, len(names)) if asked is None else asked
        self._check_ways(n_way, names, "films")
        shots = shots_of(self.nested_in or self.n_shot, names, self.class_names)

        def share(pools: Sequence[ClassPool]) -> list[ClassPool]:
            most = min(n_way, len(pools))
            n_films = np.array([pool.n_films for pool in pools])
            is_natural = self.prevalence == "natural"
            queries = (
                most_queries(most * self.n_query, n_films, most).tolist() if is_natural else [self.n_query] * len(pools)
            )
            return [replace(pool, n_query=n_query) for pool, n_query in zip(pools, queries, strict=True)]

        wanted = [replace(known[name], n_shot=int(shots[name])) for name in names]
        pools, changes = fit_classes(wanted, share, self.if_too_small, self._wish)
        names = [pool.name for pool in pools]
        if lost := sorted(set(self.always) - set(names)):
            raise ValueError(f"always names {', '.join(lost)}, which has too few films; take fewer shots or queries")
        n_way = len(names) if asked is None else asked
        self._check_ways(n_way, names, "enough films")
        return DrawPlan(
            films=self._films,
            pools=pools,
            n_way=n_way,
            n_query=self.n_query,
            total_queries=n_way * self.n_query if self.prevalence == "natural" else None,
            always=tuple(self.always),
            never=tuple(pool for name, pool in known.items() if name in self.never),
            changes=changes,
        )

    @property
    def _wish(self) -> str:
        wish = f"episodes with {self.n_query} queries per class{' on average' if self.prevalence == 'natural' else ''}"
        shots = self.nested_in or self.n_shot
        return f"{wish} and the shots given" if isinstance(shots, Mapping) else f"{shots}-shot {wish}"

    def _check_ways(self, n_way: int, names: Sequence[str], what: str) -> None:
        if n_way > len(names):
            raise ValueError(f"n_way is {n_way}, but only {len(names)} findings have {what}: {', '.join(names)}")
        if len(self.always) > n_way:
            raise ValueError(f"always names {len(self.always)} findings, but n_way is {n_way}; raise n_way")

    @cached_property
    def _draw(self) -> EpisodeDraw:
        return EpisodeDraw(self._plan, self.seed)
