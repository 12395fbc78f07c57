"""How often the intervals of PPV and of an estimated prevalence hold the truth, and how often a clinic is refused.

    python benchmarks/bank_prevalence.py ppv        # by enumeration of all counts, at 10 % prevalence
    python benchmarks/bank_prevalence.py estimate   # simulated clinics of 200 patients, and their refusals
    python benchmarks/bank_prevalence.py shift      # how often clinics with a shift are refused
    python benchmarks/bank_prevalence.py support    # the exemplars, each left out, instead of calibration films

A simulated world has three findings in 8 dimensions, their means 2.5 apart; a film is its finding's mean,
its patient's own shift and its own noise, with a standard deviation of 1 together in every direction. The bank has 20
patients of one film for each finding, rule prototype; calibration patients have 1 to 3 films, and those of the clinic,
too. Each part takes a few minutes on one core.
"""

import argparse
import time
from functools import cache

import numpy as np
from scipy import stats

from fewshot_cxr import Embeddings
from fewshot_cxr.inference.bank import (
    CalledPatients,
    ScoredFilms,
    estimate_prevalence,
    fit_bias_corrected,
    likeliest_mixture,
    predictive_values,
    shift_test,
)
from fewshot_cxr.inference.deciding import Decider

FINDINGS = ("normal", "pneumonia", "covid19")
PREVALENCE = 0.1
APART = 2.5
RARE, COMMON = (0.9, 0.08, 0.02), (0.4, 0.4, 0.2)


def by_ours(detected, n_with, alarms, n_without):
    counts = CalledPatients("covid19", ("normal", "covid19"), (alarms, detected), (n_without, n_with))
    return predictive_values(counts, {"covid19": PREVALENCE, "normal": 1 - PREVALENCE}).ppv.ci95 or (0.0, 1.0)


def by_logit(detected, n_with, alarms, n_without):
    """The logit interval with adjusted counts of Mercaldo, Lau, Zhou, 2007."""
    z = stats.norm.ppf(0.975)
    n_with, n_without, detected, alarms = n_with + z**2, n_without + z**2, detected + z**2 / 2, alarms + z**2 / 2
    sensitivity, false = detected / n_with, alarms / n_without
    centre = np.log(PREVALENCE * sensitivity / ((1 - PREVALENCE) * false))
    error = np.sqrt((1 - sensitivity) / detected + (1 - false) / alarms)
    return tuple(1 / (1 + np.exp(-(centre + sign * z * error))) for sign in (-1, 1))


def ppv():
    print("patients with, without  interval   least  mean coverage  mean width  at 1 % false alarms")
    for n_with, n_without in ((10, 20), (20, 40), (50, 100)):
        for method in (by_ours, by_logit):
            rows = [covered(method, n_with, n_without, s, f) for s in (0.6, 0.8, 0.9, 0.95, 0.99) for f in FALSE]
            least, mean = np.min(rows, axis=0)[0], np.mean(rows, axis=0)
            rare = np.mean(rows[:: len(FALSE)], axis=0)[0]
            told = f"{least:8.3f}{mean[0]:15.3f}{mean[1]:12.3f}{rare:10.3f}"
            print(f"{n_with:8d} {n_without:8d}  {method.__name__:16s}{told}", flush=True)


FALSE = (0.01, 0.05, 0.1, 0.2, 0.4)


def covered(method, n_with, n_without, sensitivity, false):
    """Return the coverage and the mean width, over all counts by their chance."""
    truth = PREVALENCE * sensitivity / (PREVALENCE * sensitivity + (1 - PREVALENCE) * false)
    found = np.zeros(3)
    for detected in range(n_with + 1):
        for alarms in range(n_without + 1):
            chance = stats.binom.pmf(detected, n_with, sensitivity) * stats.binom.pmf(alarms, n_without, false)
            if chance > 1e-5:
                low, high = asked(method, detected, n_with, alarms, n_without)
                found += chance * np.array([low <= truth <= high, high - low, 1])
    return found[:2] / found[2]


@cache
def asked(method, *counts):
    return method(*counts)


def world(key, n_calibration, n_patients, clinic, *, apart=APART, moved=0.0, strange=0.0, n_films=(1, 4)):
    draw = np.random.default_rng(key)
    means = apart / 2**0.5 * np.eye(4, 8)

    def films(labels, counts):
        patients = np.repeat(np.arange(len(labels)), draw.integers(*counts, len(labels)))
        vectors = means[labels[patients]] + 0.7 * draw.normal(size=(len(labels), 8))[patients]
        return vectors + 0.714 * draw.normal(size=(len(patients), 8)), labels[patients], patients

    exemplars, of, _ = films(np.repeat(np.arange(3), 20), (1, 2))
    prototypes = np.stack([exemplars[of == label].mean(axis=0) for label in range(3)])
    known, labels, patients = films(np.repeat(np.arange(3), n_calibration), (1, 4))
    shown = draw.choice(3, n_patients, p=clinic)
    asked_for, _, others = films(np.where(draw.random(n_patients) < strange, 3, shown), n_films)

    def distances(vectors):
        return np.linalg.norm(vectors[:, None] - prototypes, axis=2)

    return (
        ScoredFilms(FINDINGS, distances(known), patients, labels),
        ScoredFilms(FINDINGS, distances(asked_for + moved / 8**0.5), others),
    )


def estimate(n_worlds):
    print("patients a finding  clinic             mean error     coverage of 95 %    mean width      refused")
    for clinic in (RARE, COMMON):
        for n_calibration in (10, 20, 50):
            rows, n_refused = [], 0
            for place in range(n_worlds):
                films = world([place, n_calibration], n_calibration, 200, clinic)
                try:
                    found = estimate_prevalence(*films, n_resampled=50, seed=place)
                except ValueError as error:
                    if "shifted" not in str(error):
                        raise
                    n_refused += 1
                    continue
                truth = dict(zip(FINDINGS, clinic, strict=True))
                rows.append([row(one, truth[name]) for name, one in found.prevalence.items()])
            error, coverage, width = np.mean(rows, axis=0).T
            told = "  ".join(" ".join(f"{100 * one:5.1f}" for one in part) for part in (error, coverage, width))
            print(f"{n_calibration:18d}  {clinic!s:18s} {told}  {n_refused} of {n_worlds}", flush=True)


def row(one, truth):
    low, high = one.ci95
    return one.value - truth, low <= truth <= high, high - low


def shift(n_worlds):
    kinds = {
        "no shift": {},
        "2 films a patient": {"n_films": (2, 3)},
        "moved by 1": {"moved": 1.0},
        "moved by 2": {"moved": 2.0},
        "20 % another finding": {"strange": 0.2},
    }
    print("patients a finding, of the clinic  " + "  ".join(kinds))
    for n_calibration in (10, 20, 50):
        for n_patients in (50, 200):
            shares = []
            for more in kinds.values():
                n_now = n_worlds // 4 if {"moved", "strange"} & set(more) else n_worlds
                clinics = [(0.7, 0.25, 0.05) if place % 2 else COMMON for place in range(n_now)]
                films = (world([i, n_calibration], n_calibration, n_patients, c, **more) for i, c in enumerate(clinics))
                tests = [shift_test(*both, n_worlds=199, seed=place) for place, both in enumerate(films)]
                shares.append(np.mean([test.is_shifted for test in tests]))
            told = "  ".join(
                f"{100 * share:5.1f} %".rjust(len(kind)) for kind, share in zip(kinds, shares, strict=True)
            )
            print(f"{n_calibration:18d} {n_patients:15d} {told}", flush=True)


def support(n_worlds):
    print("dimensions  patients a finding  rule            mean error         root mean square   refused")
    clinic = np.array((0.7, 0.25, 0.05))
    for dim in (8, 64):
        for n_exemplars in (10, 20, 40):
            for rule in ("mean_distance", "prototype"):
                errors, n_refused = [], 0
                for place in range(n_worlds):
                    calibration, films = from_support([place, n_exemplars, dim], dim, n_exemplars, rule, clinic)
                    n_refused += shift_test(calibration, films, n_worlds=199, seed=place).is_shifted
                    fitted = fit_bias_corrected(calibration)
                    prior = np.array(fitted.prior)
                    ratios = fitted.probabilities(films.distances) / prior
                    errors.append(likeliest_mixture(ratios, films.weights, prior) - clinic)
                mean, error = np.mean(errors, axis=0), np.sqrt(np.mean(np.square(errors), axis=0))
                told = "  ".join(" ".join(f"{100 * one:5.1f}" for one in part) for part in (mean, error))
                print(f"{dim:10d} {n_exemplars:18d}  {rule:14s} {told}  {n_refused} of {n_worlds}", flush=True)


def from_support(key, dim, n_exemplars, rule, clinic):
    draw = np.random.default_rng(key)
    means = APART / 2**0.5 * np.eye(3, dim)

    def films(labels):
        return (means[labels] + draw.normal(size=(len(labels), dim))).astype(np.float32)

    labels = np.repeat(np.arange(3), n_exemplars)
    exemplars = Embeddings(films(labels), labels, np.arange(len(labels)), class_names=list(FINDINGS))
    decider = Decider(exemplars, rule=rule)
    rows, distances = decider.left_out()
    calibration = ScoredFilms(FINDINGS, distances, exemplars.patient_ids[rows], decider.labels.numpy()[rows])
    asked_for = films(draw.choice(3, 200, p=clinic))
    return calibration, ScoredFilms(FINDINGS, decider.distances(asked_for), np.arange(200))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["ppv", "estimate", "shift", "support"])
    parser.add_argument("--worlds", type=int, default=100, help="of each line, where there is a shift a quarter")
    arguments = parser.parse_args()
    start = time.perf_counter()
    {"ppv": lambda _: ppv(), "estimate": estimate, "shift": shift, "support": support}[arguments.part](arguments.worlds)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
