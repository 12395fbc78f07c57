"""Which findings an episode holds and which films stand on either side: the question that a result answers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_list, check_whole, lookup
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes, EpisodeSource
from fewshot_cxr.episodes.policy import check_names
from fewshot_cxr.evaluation.episodic.fold_episodes import FoldEpisodes
from fewshot_cxr.evaluation.episodic.plan import Plan


def plan_episodes(
    films: Embeddings,
    *,
    protocol: str = "auto",
    seen: Sequence[str] | None = None,
    novel: Sequence[str] = (),
    unknown: Sequence[str] = (),
    support_source: str | None = None,
    query_source: str | None = None,
    n_folds: int | None = None,
    n_repeats: int | None = None,
    n_way: int | None = None,
    n_shot: int | Mapping[str, int] | None = None,
    n_query: int | None = None,
    n_episodes: int | None = None,
    prevalence: str | None = None,
    if_too_small: str | None = None,
    allow_patient_overlap: bool | None = None,
    seed: int = 0,
) -> Plan:
    """Choose the findings and films of few-shot episodes.

    Args:
        films: one finding per film.
        protocol: a name in PROTOCOLS. "closed": all findings were seen in training. "novel": findings that were not,
            filled up with others where there is only one. "generalized": seen and novel ones in every episode.
            "cross_source": support from one source, queries from others. "fixed_support": the films are a support set,
            asked by cross-validation inside it. "auto": "closed", "generalized" or "novel", as `seen` says.
        seen: findings the encoder was trained on (its card knows them); None: not known.
        novel: findings it was not trained on; (): all that are not in `seen`.
        unknown: findings that are in no episode, but asked as "none of these".
        support_source: of "cross_source": where the support films are from.
        query_source: of "cross_source": where its queries are from; None: all other sources.
        n_folds: of "fixed_support"; see `FoldEpisodes.draw`.
        n_repeats: of "fixed_support"; see `FoldEpisodes.draw`.
        n_way: classes in an episode; None: all that the protocol has.
        n_shot: of `Episodes.draw`, as what follows; None: its default. "fixed_support" takes none of them, nor n_way.
        n_query: of `Episodes.draw`; None: its default.
        n_episodes: of `Episodes.draw`; None: its default.
        prevalence: of `Episodes.draw`; None: its default.
        if_too_small: of `Episodes.draw`; None: its default.
        allow_patient_overlap: of `Episodes.draw`; None: its default.
        seed: of the episodes.

    Raises:
        ValueError, TypeError: an unknown protocol, finding or source, an option that the protocol does not take,
            findings that contradict the protocol, or whatever `Episodes.draw` and `FoldEpisodes.draw` refuse.
    """
    plan = lookup(PROTOCOLS, protocol, what="protocol")
    question = _Question(
        films=films,
        findings=_findings(films, seen or (), novel, unknown),
        seen=None if seen is None else frozenset(seen),
        given_novel=tuple(novel),
        unknown=tuple(unknown),
        sources=(support_source, query_source),
        folds=_given(n_folds=n_folds, n_repeats=n_repeats),
        n_way=n_way,
        seed=seed,
        draw=_given(
            n_shot=n_shot,
            n_query=n_query,
            n_episodes=n_episodes,
            prevalence=prevalence,
            if_too_small=if_too_small,
            allow_patient_overlap=None if allow_patient_overlap is False else allow_patient_overlap,
        ),
    )
    _check_options(question, protocol)
    return plan(question)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, eq=False)
class _Question:
    """What `plan_episodes` was asked, its findings checked."""

    films: Embeddings
    findings: tuple[str, ...]  # that may be in an episode
    seen: frozenset[str] | None
    given_novel: tuple[str, ...]
    unknown: tuple[str, ...]
    sources: tuple[str | None, str | None]
    folds: Mapping[str, int]
    n_way: int | None
    seed: int
    draw: Mapping[str, Any]

    @property
    def novel(self) -> tuple[str, ...]:
        """The novel findings: those given, else those not seen."""
        return tuple(name for name in self.findings if self.is_novel(name))

    def is_novel(self, name: str) -> bool:
        """Whether a finding is named as novel or, where none is, known to be unseen."""
        return name in self.given_novel if self.given_novel else self.seen is not None and name not in self.seen

    def is_unseen(self, name: str) -> bool:
        """Whether the encoder was not trained on a finding, as far as is known."""
        return self.is_novel(name) if self.seen is None else name not in self.seen

    def plan(
        self, protocol: str, findings: Sequence[str], *, notes: Sequence[str] = (), n_way: int | None, **draw: Any
    ) -> Plan:
        """Draw episodes of these findings; all others are asked as "none of these"."""
        others = tuple(name for name in (*self.findings, *self.unknown) if name not in findings)
        episodes = Episodes.draw(self.films, n_way=n_way, seed=self.seed, never=others, **self.draw, **draw)
        return self.label(protocol, episodes, findings, notes)

    def label(self, protocol: str, episodes: EpisodeSource, findings: Sequence[str], notes: Sequence[str]) -> Plan:
        """Part the findings of the episodes into seen and novel ones."""
        if self.seen is None and not self.given_novel:
            return Plan(protocol, episodes, notes=tuple(notes))
        seen, novel = (tuple(name for name in findings if self.is_unseen(name) == unseen) for unseen in (False, True))
        return Plan(protocol, episodes, seen, novel, tuple(notes))


def _auto(question: _Question) -> Plan:
    n_novel, n_findings = len(question.novel), len(question.findings)
    if question.seen is None and not n_novel:
        name, why = "closed", "what the encoder was trained on is not known"
    elif not n_novel:
        name, why = "closed", "the encoder was trained on every finding"
    elif n_novel < n_findings:
        name, why = "generalized", f"the encoder was not trained on {', '.join(question.novel)}"
    else:
        name, why = "novel", "the encoder was trained on none of the findings"
    plan = PROTOCOLS[name](question)
    return replace(plan, notes=(f"protocol {name} was chosen: {why}", *plan.notes))


def _closed(question: _Question) -> Plan:
    if question.seen is not None and question.novel:
        raise ValueError(
            f"protocol closed: the encoder was not trained on {', '.join(question.novel)}; "
            "take the protocol novel or generalized, or leave the finding out"
        )
    return question.plan("closed", question.findings, n_way=question.n_way)


def _novel(question: _Question) -> Plan:
    novel = _checked_novel(question, "novel")
    n_way = len(novel) if len(novel) > 1 else len(question.findings)
    n_way = n_way if question.n_way is None else question.n_way
    if n_way <= len(novel):
        return question.plan("novel", novel, n_way=n_way)
    others = [name for name in question.findings if name not in novel]
    note = f"every episode holds {', '.join(novel)} and is filled up to {n_way} findings from {', '.join(others)}"
    return question.plan("novel", question.findings, notes=(note,), n_way=n_way, always=novel)


def _generalized(question: _Question) -> Plan:
    novel = _checked_novel(question, "generalized")
    seen = tuple(name for name in question.findings if name not in novel)
    if not seen:
        raise ValueError("protocol generalized needs a finding that was seen in training; take the protocol novel")
    neither = [name for name in seen if question.is_unseen(name)]
    if neither:
        raise ValueError(
            f"protocol generalized: {', '.join(neither)} was not seen in training; name it in novel, or in unknown"
        )
    n_way = len(question.findings) if question.n_way is None else question.n_way
    always = novel if len(novel) < n_way else seen
    if len(always) >= n_way:
        raise ValueError(
            f"protocol generalized: {n_way} ways cannot hold all {len(novel)} novel findings and a seen one, nor all "
            f"{len(seen)} seen ones and a novel one; take n_way {min(len(novel), len(seen)) + 1} or more"
        )
    notes = []
    if n_way < len(question.findings):
        notes.append(f"every episode holds {', '.join(always)} and {n_way - len(always)} of the other findings")
    return question.plan("generalized", question.findings, notes=notes, n_way=question.n_way, always=always)


def _cross_source(question: _Question) -> Plan:
    counts = _count_by_source(question.films)
    table = {name: {source: n for source, n in counts[name].items() if source} for name in question.findings}
    if not any(table.values()):
        raise ValueError("cross_source needs the source of each film; fill in the source column and embed again")
    if not any(len(sources) > 1 for sources in table.values()):
        raise ValueError(
            "no finding has films of two sources: finding and source are confounded here, "
            "cross_source cannot be measured"
        )
    known = sorted({source for sources in table.values() for source in sources})
    choices = "; ".join(
        f"{source} ({', '.join(f'{name} {sources[source]}' for name, sources in table.items() if source in sources)})"
        for source in known
    )
    support, query = question.sources
    if support is None:
        raise ValueError(f"cross_source needs a support_source; choose from {choices}")
    for source, what in ((support, "support_source"), (query, "query_source")):
        if source is not None:
            lookup(dict.fromkeys(known), source, what=what)
    if support == query:
        raise ValueError(f"support_source and query_source are both {support}; take two sources")
    asked = [source for source in known if source != support] if query is None else [query]
    findings = [name for name, sources in table.items() if support in sources and not sources.keys().isdisjoint(asked)]
    if len(findings) < 2:
        raise ValueError(
            f"cross_source needs 2 findings with films of {support} and of {' or '.join(asked)}, "
            f"got {', '.join(findings) or 'none'}; there are {choices}"
        )
    notes = [f"support films are of {support}, query films of {', '.join(asked)}"]
    out = [name for name in question.findings if name not in findings]
    if out:
        notes.append(f"never in an episode, for want of films on both sides: {', '.join(out)}")
    of_film = np.array(question.films.sources)
    may_support, may_query = of_film == support, np.isin(of_film, asked)
    sides = {"may_support": may_support, "may_query": may_query}
    return question.plan("cross_source", findings, notes=notes, n_way=question.n_way, **sides)


def _fixed_support(question: _Question) -> Plan:
    episodes = FoldEpisodes.draw(question.films, seed=question.seed, never=question.unknown, **question.folds)
    return question.label("fixed_support", episodes, question.findings, ())


PROTOCOLS: dict[str, Callable[[_Question], Plan]] = {
    "auto": _auto,
    "closed": _closed,
    "novel": _novel,
    "generalized": _generalized,
    "cross_source": _cross_source,
    "fixed_support": _fixed_support,
}


def _findings(films: Embeddings, seen: Sequence[str], novel: Sequence[str], unknown: Sequence[str]) -> tuple[str, ...]:
    """Check the named findings; return those that may be in an episode, in the order of the class names."""
    for what, names in (("seen", seen), ("novel", novel), ("unknown", unknown)):
        check_list(names, what)
    present = list(_count_by_source(films))
    check_names({"novel": novel, "unknown": unknown}, present, present)
    return tuple(name for name in present if name not in unknown)


def _check_options(question: _Question, protocol: str) -> None:
    """Refuse what the protocol would not heed, and what is no whole number."""
    for name, number in {"seed": question.seed, "n_way": question.n_way, **question.folds}.items():
        if number is not None:
            check_whole(number, name)
    takes_novel = ("auto", "novel", "generalized")
    if question.given_novel and protocol not in takes_novel:
        raise ValueError(f"protocol {protocol} takes no novel findings; take one of {', '.join(takes_novel)}")
    if question.sources != (None, None) and protocol != "cross_source":
        raise ValueError(f"protocol {protocol} takes no support_source or query_source; take cross_source")
    if question.folds and protocol != "fixed_support":
        raise ValueError(f"protocol {protocol} takes no n_folds or n_repeats; take fixed_support")
    settled = sorted(question.draw) + ["n_way"] * (question.n_way is not None)
    if settled and protocol == "fixed_support":
        raise ValueError(f"protocol fixed_support takes no {', '.join(settled)}: its folds settle them; leave them out")


def _checked_novel(question: _Question, protocol: str) -> tuple[str, ...]:
    novel = question.novel
    trained = [name for name in novel if question.seen is not None and name in question.seen]
    if trained:
        raise ValueError(
            f"the encoder was trained on {', '.join(trained)}: not novel to it; "
            "train one without (fscxr data split --novel), or take the protocol closed"
        )
    if not novel:
        why = "what it was trained on is not known" if question.seen is None else "the encoder has seen every finding"
        raise ValueError(f"protocol {protocol} has no novel finding: {why}; name some in novel")
    return novel


def _count_by_source(films: Embeddings) -> dict[str, dict[str, int]]:
    """Return, for each finding that has films, their number by source; a source that is not stated is ''."""
    if films.is_multi_label:
        rows, class_ids = np.nonzero(films.class_ids == 1)
    else:
        rows, class_ids = np.arange(len(films)), films.class_ids
    sources = np.array([""] * len(films) if films.sources is None else films.sources)
    names = films.class_names
    counts = {index: Counter(sources[rows[class_ids == index]].tolist()) for index in np.unique(class_ids).tolist()}
    return {names[index]: dict(counter) for index, counter in counts.items()}
