"""How often a bank's sets hold the true finding, against what is promised, in simulated worlds of patients.

    python benchmarks/bank_coverage.py [--worlds 2000] [--workers 2] [--seed 0] [--markdown]

A world is an encoder and its patients: 3 findings, embeddings of 16 dimensions of unequal spread made of the finding's
mean, the patient's own shift (larger for some patients than for others) and the film's noise. Of each finding 5, 10,
20 or 50 patients make the p-values at 90 %: the exemplars themselves ("support"), or as many patients kept apart beside
10 others who are the exemplars ("films"). They are asked of 40 new patients a finding, one film each.

Exchangeability is kept with one film a patient, and with 1 to 4. It is broken where each of 1 to 4 films is taken for a
patient of its own, and where the exemplars are herded from four times as many patients.

Coverage is that of a finding in a world: its mean, and between which shares 95 of 100 lie; to that end a beta
distribution is given the mean and variance over worlds and findings, less the variance that 40 films asked add.
"""

import argparse
import os
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import torch
from scipy import stats

from fewshot_cxr import Embeddings
from fewshot_cxr.inference.bank import choose, coverage_interval
from fewshot_cxr.inference.bank.comparing import conformal_of
from fewshot_cxr.inference.bank.conformal import share_as_strange, strangeness, worst_of_patients
from fewshot_cxr.inference.bank.coverage import allowed_misses, fewest_patients
from fewshot_cxr.inference.deciding import Decider

LEVEL, N_WAY, DIM, N_ASKED, N_EXEMPLARS, N_TIMES = 0.9, 3, 16, 40, 10, 4
PATIENTS = (5, 10, 20, 50)
NEW = (20, 20, 5)  # patients of two known findings and of a new one


@dataclass(frozen=True)
class Case:
    """What a row of the table simulates.

    Args:
        basis: "support" or "films".
        rule: of the bank.
        patients: of each finding.
        most_films: of a patient; 1 to as many.
        broken: what is wrong: "", "films taken for patients" or "herded".
    """

    basis: str
    rule: str
    patients: tuple[int, ...]
    most_films: int = 1
    broken: str = ""


def cases() -> Iterator[Case]:
    """Yield the rows of the table."""
    same = [(n,) * N_WAY for n in PATIENTS]
    for basis in ("support", "films"):
        yield from (Case(basis, "mean_distance", patients) for patients in [*same, NEW])
        yield from (Case(basis, "prototype", patients) for patients in same)
        yield from (Case(basis, "mean_distance", patients, 4) for patients in same)
        yield from (Case(basis, "mean_distance", patients, 4, "films taken for patients") for patients in same)
    yield from (Case("support", "mean_distance", patients, 1, "herded") for patients in same)


class World:
    """An encoder's view of some findings, and patients as it sees them."""

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._spread = np.exp(-draw.uniform(0, 3) * np.arange(DIM) / DIM)
        self._centres = draw.uniform(1, 2) * draw.normal(size=(N_WAY, DIM)) * self._spread / DIM**0.25
        self._shift, self._noise = draw.uniform(0.3, 1, 2)

    def films(self, n_patients: tuple[int, ...], most_films: int = 1) -> Embeddings:
        """Return the films of new patients, 1 to `most_films` of each."""
        findings = np.repeat(np.arange(N_WAY), n_patients)
        size = self._draw.choice([0.7, 1.5], size=(len(findings), 1))
        shifts = self._draw.normal(size=(len(findings), DIM)) * size * self._shift
        patients = np.repeat(np.arange(len(findings)), self._draw.integers(1, most_films + 1, len(findings)))
        noise = self._draw.normal(size=(len(patients), DIM)) * self._noise
        vectors = self._centres[findings[patients]] + (shifts[patients] + noise) * self._spread
        return Embeddings(vectors, findings[patients], patients, range(N_WAY))


def in_world(number: int, case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of films of each finding whose set holds it, and how many sets have 0, 1, 2 and 3 findings."""
    torch.set_num_threads(1)
    world = World(np.random.default_rng([seed, number]))
    asked = world.films((N_ASKED,) * N_WAY)
    is_herded = case.broken == "herded"
    known = world.films(tuple(n * N_TIMES for n in case.patients) if is_herded else case.patients, case.most_films)
    if is_herded:
        known = known.take(choose(known, case.patients[0], how="herding"))
    if case.broken == "films taken for patients":
        known = Embeddings(known.vectors, known.class_ids, None, known.class_names)
    exemplars = known if case.basis == "support" else world.films((N_EXEMPLARS,) * N_WAY, case.most_films)
    decider = Decider(exemplars, rule=case.rule, distance="euclidean")
    if case.basis == "support":
        p_values = conformal_of(decider).p_values(asked.vectors, fewest_patients(LEVEL))
    else:
        p_values = by_films(decider, known, asked)
    is_in = p_values > 1 - LEVEL + 1e-9
    held = is_in[np.arange(len(asked)), asked.class_ids].reshape(N_WAY, N_ASKED).mean(axis=1)
    return held, np.bincount(is_in.sum(axis=1), minlength=N_WAY + 1)


def by_films(decider: Decider, kept: Embeddings, asked: Embeddings) -> np.ndarray:
    """Return p-values as a calibration on films kept apart gives them, without its temperature."""
    labels, patients = kept.class_ids, kept.patient_ids
    scores = strangeness(decider.distances(kept.vectors).numpy())[np.arange(len(labels)), labels]
    columns = []
    for label, of_asked in enumerate(strangeness(decider.distances(asked.vectors).numpy()).T):
        own = worst_of_patients(scores[labels == label], patients[labels == label])
        is_few = len(own) < fewest_patients(LEVEL)
        columns.append(share_as_strange(worst_of_patients(scores, patients) if is_few else own, of_asked))
    return np.stack(columns, axis=1)


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--markdown", action="store_true", help="the table as docs/bank.md has it")
    arguments = parser.parse_args()
    start = time.perf_counter()
    where = f"{date.today()}, {platform.machine()}, {arguments.workers} processes, torch {torch.__version__}"
    heads = ["patients a finding", "basis", "rule", "films a patient", "broken", "coverage", "95 of 100 banks"]
    heads += ["promised", "95 of 100", "findings in a set", "one finding", "none"]
    print("| " + " | ".join(heads) + " |\n" + "| --- " * len(heads) + "|" if arguments.markdown else "  ".join(heads))
    with ProcessPoolExecutor(arguments.workers) as pool:
        for case in cases():
            worlds = range(arguments.worlds)
            found = list(pool.map(partial(in_world, case=case, seed=arguments.seed), worlds, chunksize=50))
            for cells in rows(case, np.array([held for held, _ in found]), np.array([sizes for _, sizes in found])):
                print("| " + " | ".join(cells) + " |" if arguments.markdown else "  ".join(cells), flush=True)
    print(f"\n{where}, seed {arguments.seed}, {arguments.worlds:,} worlds, {time.perf_counter() - start:.0f} s")


def rows(case: Case, held: np.ndarray, sizes: np.ndarray) -> Iterator[list[str]]:
    """Yield the cells of one case; of a new finding beside known ones, a row for either."""
    counts = sizes.sum(axis=0) / sizes.sum()
    size = [f"{counts @ np.arange(N_WAY + 1):.2f}", percent(counts[1]), percent(counts[0])]
    findings = {n: np.array(case.patients) == n for n in case.patients}
    for n_patients, is_such in findings.items():
        whose = f"{n_patients}" if len(findings) == 1 else f"{n_patients} of {', '.join(map(str, case.patients))}"
        films = "1" if case.most_films == 1 else f"1 to {case.most_films}"
        cells = [whose, case.basis, case.rule, films, case.broken]
        yield [*cells, *achieved(held[:, is_such]), *promised(case, n_patients), *size]


def achieved(held: np.ndarray) -> list[str]:
    """Return mean coverage with its standard error, and between which shares 95 of 100 banks lie."""
    mean, error = held.mean(), held.mean(axis=1).std(ddof=1) / len(held) ** 0.5
    variance = (held.var(ddof=1) - mean * (1 - mean) / N_ASKED) / (1 - 1 / N_ASKED)
    parts = mean * (1 - mean) / max(variance, 1e-9) - 1
    low, high = stats.beta(mean * parts, (1 - mean) * parts).ppf([0.025, 0.975])
    return [f"{percent(mean)} +- {100 * error:.1f}", f"{percent(low)} to {percent(high)}"]


def promised(case: Case, n_patients: int) -> list[str]:
    """Return the mean coverage that is promised, and for films kept apart between which shares 95 of 100 banks lie."""
    scale = (1 + case.most_films) / 2 if case.broken == "films taken for patients" else 1
    is_pooled = n_patients * scale < fewest_patients(LEVEL)
    n_compared = round(scale * (sum(case.patients) if is_pooled else n_patients))
    mean, (low, high) = coverage_interval(n_compared, allowed_misses(n_compared, LEVEL))
    whose = f"{percent(mean)}{' of all findings' * is_pooled}"
    return [whose, "" if case.basis == "support" or is_pooled else f"{percent(low)} to {percent(high)}"]


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
