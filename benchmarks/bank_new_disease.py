"""A new disease in a support bank: asked before it is there, then after 5, 10 and 20 films of it were added.

    FSCXR_DATA=<folder with cxr3> python benchmarks/bank_new_disease.py [--seeds 5 6 7 8 9] [--markdown] [--only cxr3]

On cxr3 each split seed divides 60/10/30 by patient group. The joined head of EfficientNet-Lite0, 320 px, is fitted to
normal and pneumonia of train. The bank holds those of val, to which nothing was fitted; added are films of covid19 of
train, which no encoder has met; asked are all films of test. The demo's synthetic films go the same way, at 96 px.

Caution: covid19 comes from one source of cxr3 and the known findings from another. `source` says how far that goes.

`--vectors FOLDER` keeps pooled features, in the form of bank_abstain.py; FSCXR_CACHE keeps decoded films.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bank_abstain import auroc
from bank_new_disease_films import Pool
from new_disease import mean, share, show
from new_disease_methods import LITE0, say

from fewshot_cxr import read_dataset
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.inference.bank.answering import answer_films
from fewshot_cxr.inference.bank.calibration import Calibration
from fewshot_cxr.inference.bank.coverage import coverage_interval
from fewshot_cxr.inference.bank.fitted import Exemplars, Fitted
from fewshot_cxr.inference.bank.terms import BankTerms
from fewshot_cxr.metrics import Estimate, bounded_interval

RULES, ADDED = ("mean_distance", "prototype"), (0, 5, 10, 20)
REASONS = {"unknown, far": "unknown", "no finding fits": "none", "ambiguous": "ambiguous", "no frontal film": "not_a_"}


@dataclass(frozen=True, eq=False)
class Told:
    """What a bank says of films of a split: answers with truths and patients, and how it was calibrated."""

    answers: Sequence[Answer]
    truths: np.ndarray
    patients: np.ndarray
    is_new: np.ndarray
    calibration: Calibration

    def share(self, claim: Sequence[bool], among: np.ndarray) -> Estimate | None:
        """Return the share of films of which a claim holds, with an interval over patients; None: there are none."""
        return clustered(np.asarray(claim)[among], self.patients[among]) if among.any() else None

    @property
    def is_nearest(self) -> np.ndarray:
        """Whether the nearest finding is the true one: the answer of a bank that never abstains."""
        return np.array([one.finding for one in self.answers]) == self.truths

    @property
    def is_answered(self) -> np.ndarray:
        """Whether it says a finding."""
        return ~np.array([one.is_abstained for one in self.answers])

    def sets(self) -> list[tuple[str, ...]]:
        """Return what fits each film."""
        return [one.fitting or () for one in self.answers]

    def covered(self, among: np.ndarray, *, of_each: Any = np.all) -> Estimate | None:
        """Return the share of patients whose films' sets hold their finding; one of two findings counts twice.

        Args:
            among: which films.
            of_each: np.all: each film's must; np.mean: a patient counts by the share of films whose set does.
        """
        pairs = zip(self.truths, self.sets(), strict=True)
        holds = np.array([truth in fitting for truth, fitting in pairs])[among]
        ids = np.array([f"{who}, {what}" for who, what in zip(self.patients, self.truths, strict=True)])[among]
        names = np.unique(ids)
        return clustered(np.array([of_each(holds[ids == name]) for name in names]), names) if len(names) else None

    def why(self) -> list[str]:
        """Return the name in REASONS for each film, "answered" for those that have none."""
        found = []
        for one in self.answers:
            reason = "none" if one.details.startswith("no finding fits") else one.reason
            found.append(next((name for name, of in REASONS.items() if reason.startswith(of)), reason or "answered"))
        return found


def clustered(values: np.ndarray, patients: np.ndarray) -> Estimate:
    """Return the mean over films of what is true or false of them, with an interval over patients."""
    whole, names = float(values.mean()), np.unique(patients)
    influences = [(values[patients == name] - whole).sum() / len(values) for name in names]
    n = len(names)
    if n < 2:
        return Estimate(whole)
    variance = n / (n - 1) * float(np.square(influences).sum())
    return Estimate(whole, ci95_patients=bounded_interval(whole, variance, degrees=n - 1, n_patients=n))


def halves(patients: np.ndarray, seed: int) -> np.ndarray:
    """Return whether each film is of the half of the patients that calibrates."""
    names = np.unique(patients)
    return np.isin(patients, np.random.default_rng(seed).permutation(names)[: len(names) // 2])


def judge(pool: Pool, seed: int) -> dict[Any, Any]:
    """Return what banks of one split say, by basis, rule and number of added films; and how strange films are."""
    rows = pool.rows_of(seed)
    vectors, test = pool.embed(rows["known"]), rows["test"]
    own = rows["val"][pool.findings[rows["val"]] != pool.novel]
    facts = pool.findings[test], pool.patients[test], pool.findings[test] == pool.novel
    asked, is_apart = pool.asked(test, vectors), halves(pool.patients[own], seed)
    found: dict[Any, Any] = {"counts": counts_of(pool, own, test, facts[2])}
    for rule in RULES:
        terms = BankTerms({"card": {"keep": 1}}, rule=rule, trained_on=frozenset(pool.digests(rows["known"])))
        for n in ADDED:
            new = pool.sampled(rows["new"], n, seed)
            exemplars = Exemplars(pool.table(np.concatenate([own, new]), vectors), terms)
            banks = {"support": (exemplars, Fitted().on_exemplars(exemplars))}
            if n:
                others = rows["new"][~np.isin(pool.patients[rows["new"]], pool.patients[new])]
                fewer = Exemplars(pool.table(np.concatenate([own[~is_apart], new]), vectors), terms)
                films = pool.table(np.concatenate([own[is_apart], others]), vectors)
                banks["films"] = fewer, Fitted().on_films(fewer, films)
            for basis, (held, made) in banks.items():
                answers = answer_films(made.grounds(held), asked, n_nearest=1)
                found[basis, rule, n] = Told(answers, *facts, made.calibration)
            if not n:
                found["auroc"], found["source"] = strangers(pool, exemplars, test, facts[2])
    say(f"{pool.novel}, split {seed}: AUROC of unknown {share(found['auroc'])}")
    return found


def counts_of(pool: Pool, own: np.ndarray, test: np.ndarray, is_new: np.ndarray) -> tuple[str, ...]:
    """Return films and patients of the bank, of the known findings of test and of the new one."""
    parts = own, test[~is_new], test[is_new]
    return tuple(f"{len(some)} of {len(np.unique(pool.patients[some]))}" for some in parts)


def strangers(pool: Pool, exemplars: Exemplars, test: np.ndarray, is_new: np.ndarray) -> tuple[Estimate, Estimate]:
    """Return how well the bank's own distance tells the new finding, and how well another source alone does."""
    sources = np.array([film.source or "" for film in pool.records])
    is_other = ~np.isin(sources[test], exemplars.table.sources)
    order = np.concatenate([pool.patients[test[~is_new]], pool.patients[test[is_new]]])
    both = exemplars.neighbourhood.distances(pool.pooled[test]), is_other.astype(float)
    by_distance, by_source = (auroc(score[~is_new], score[is_new], order) for score in both)
    return by_distance, by_source


def cell(estimates: Sequence[Estimate | None]) -> str:
    """Return the mean over splits that have the number, in per cent; "-": none has."""
    there = [one for one in estimates if one is not None]
    return share(mean(there)) if there else "-"


def show_unknown(found: Sequence[Mapping[Any, Any]], seeds: Sequence[int], novel: str, table: Any) -> None:
    """Print how well the new finding is told while the bank has it not, and the share of each reason."""
    rows = [
        (f"{seed}", *of["counts"], share(of["auroc"]), cell([of["source"]]))
        for seed, of in zip(seeds, found, strict=True)
    ]
    rows.append(("mean", "", "", "", *(cell([of[name] for of in found]) for name in ("auroc", "source"))))
    heads = ("split seed", "bank", "known, test", f"{novel}, test", "AUROC of unknown", "source alone")
    table("Films of patients; how well the bank tells what it has not", heads, rows)
    rows = []
    for rule in RULES:
        for is_new in (False, True):
            told = [of["support", rule, 0] for of in found]
            why = [np.array(one.why()) for one in told]
            shares = [
                cell([one.share(own == name, one.is_new == is_new) for one, own in zip(told, why, strict=True)])
                for name in ("answered", *REASONS)
            ]
            rows.append((rule, novel if is_new else "known findings", *shares))
    table("Share of films by reason", ("rule", "films of", "answered", *REASONS), rows)


def show_recall(found: Sequence[Mapping[Any, Any]], novel: str, table: Any) -> None:
    """Print how many films are recognised once some of the new finding were added."""
    rows = []
    for rule in RULES:
        for n in ADDED:
            told, cells = [of["support", rule, n] for of in found], []
            for is_new in (True, False):
                cells += [
                    cell([one.share(one.is_nearest, one.is_new == is_new) for one in told]),
                    cell([one.share(one.is_answered, one.is_new == is_new) for one in told]),
                    cell([one.share(one.is_nearest, (one.is_new == is_new) & one.is_answered) for one in told]),
                ]
            rows.append((rule, f"{n}", *cells))
    heads = [f"{of}: {what}" for of in (novel, "known") for what in ("never abstain", "answered", "right of these")]
    table(
        "Right among all films where the bank may not abstain, and among those that it answers",
        ("rule", "added", *heads),
        rows,
    )


def promised(found: Sequence[Calibration], novel: str) -> str:
    """Return what is promised of the new finding, mean over the splits; with an interval for films kept apart."""
    pairs = [coverage_interval(*one.misses(novel)) for one in found]
    middle, (low, high) = np.mean([m for m, _ in pairs]), np.mean([ends for _, ends in pairs], axis=0)
    own = all(one.has_own_threshold(novel) for one in found)
    between = f" ({100 * low:.1f} to {100 * high:.1f})" if own and found[0].basis == "films" else ""
    return f"{100 * middle:.1f}{between}" + ("" if own else " of all findings")


def show_coverage(found: Sequence[Mapping[Any, Any]], novel: str, table: Any) -> None:
    """Print coverage by patient and set sizes, achieved against promised."""
    rows = []
    for basis in ("support", "films"):
        for rule in RULES:
            for n in ADDED[1:]:
                told = [of[basis, rule, n] for of in found]
                sizes = [np.array([len(fitting) for fitting in one.sets()]) for one in told]
                cells = [promised([one.calibration for one in told], novel)]
                for is_new in (True, False):
                    for of_each in (np.all, np.mean):
                        cells.append(cell([one.covered(one.is_new == is_new, of_each=of_each) for one in told]))
                    own = [some[one.is_new == is_new] for one, some in zip(told, sizes, strict=True)]
                    none, single = (f"{100 * np.mean([(some == size).mean() for some in own]):.0f}" for size in (0, 1))
                    cells.append(f"{np.mean([some.mean() for some in own]):.2f}; {none}, {single}")
                rows.append((basis, rule, f"{n}", *cells))
    heads = (
        "basis",
        "rule",
        "added",
        f"promised, {novel}",
        *(f"{name}, {how}" for name in (novel, "known") for how in ("all films", "one film", "size")),
    )
    table(
        "Patients whose sets hold their finding, of all films and of a film at random; size; % with none, with one",
        heads,
        rows,
    )


def report(pool: Pool, seeds: Sequence[int], table: Any) -> None:
    """Print the tables of one set of films."""
    found = [judge(pool, seed) for seed in seeds]
    show_unknown(found, seeds, pool.novel, table)
    show_recall(found, pool.novel, table)
    show_coverage(found, pool.novel, table)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7, 8, 9], help="of the splits of cxr3")
    parser.add_argument("--only", choices=("cxr3", "demo"), help="one of the two sets of films")
    parser.add_argument("--vectors", type=Path, metavar="FOLDER", help="keep pooled features here")
    parser.add_argument("--markdown", action="store_true", help="tables as docs/new-disease-measured.md has them")
    arguments = parser.parse_args()
    root = os.environ.get("FSCXR_DATA")
    if root is None and arguments.only != "demo":
        parser.error("set FSCXR_DATA to the folder that holds cxr3/metadata.csv")
    print(f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.__version__}")
    table = partial(show, markdown=arguments.markdown)
    if arguments.only != "demo":
        kept = None if arguments.vectors is None else arguments.vectors / f"{LITE0}, cxr3.npz"
        records = read_dataset("manifest", Path(root) / "cxr3" / "metadata.csv")
        report(Pool(records, "covid19", size_px=320, kept=kept), arguments.seeds, table)
    if arguments.only != "cxr3":
        with tempfile.TemporaryDirectory() as folder:
            records = make_synthetic(folder, n_patients=100, seed=0)
            report(Pool(records, "peripheral_ground_glass", size_px=96), (0,), table)


if __name__ == "__main__":
    main()
