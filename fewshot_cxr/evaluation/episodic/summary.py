"""From sums over episodes to numbers with their two intervals."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr.evaluation.episodic.multi_label import MultiLabelLayout
from fewshot_cxr.evaluation.episodic.patients import (
    PatientPlan,
    PatientTally,
    PatientUnits,
    paired_variances,
    population_variance,
)
from fewshot_cxr.evaluation.episodic.tally import OF_FINDING, Key, Layout
from fewshot_cxr.evaluation.scores import Replicates
from fewshot_cxr.metrics import NUMBERS, Estimate, Interval, Number, RunningMoments, t_interval

AnyLayout = Layout | MultiLabelLayout
N_BATCHES = 20
_MOST_KEPT = 100  # units in a result file
_TOO_FEW_WITHOUT = "some patient is missing from too few of the episodes: take more episodes, or fewer shots (n_shot)"
_FEWER = "AUPRC has no interval {} here: its value changes with the number of films asked"
_SHARE = Number(words="", tables=())  # those of the open set, and of seen and novel findings
_ROUNDING = 1e-20  # a variance below this is none


class EpisodeSums:
    """Moments of the statistics over all episodes, and their sums in equal shares of them."""

    def __init__(self, layout: AnyLayout, n_episodes: int) -> None:
        self.moments = RunningMoments(layout.n_statistics)
        self.n_episodes = n_episodes
        self._sums = np.zeros((N_BATCHES, layout.n_statistics))
        self._counts = np.zeros(N_BATCHES)

    def add(self, first: int, rows: Tensor) -> None:
        """Add the statistics of episodes first, first + 1, ...: float64, (n, n_statistics)."""
        self.moments.add(rows)
        share = (first + np.arange(len(rows))) * N_BATCHES // self.n_episodes
        shares, starts, counts = np.unique(share, return_index=True, return_counts=True)
        self._sums[shares] += np.add.reduceat(rows.numpy(), starts, axis=0)
        self._counts[shares] += counts

    def batch_means(self) -> np.ndarray:
        """Return the mean of each share that has episodes, (n_batches, n_statistics)."""
        kept = self._counts > 0
        return np.asarray(self._sums[kept] / self._counts[kept, None])


class Summary:
    """Every number of a layout, with what its intervals rest on.

    Args:
        layout: of the statistics.
        sums: over all episodes.
        tally: of the episodes with and without each unit; None: there is no interval over patients.
        units: of the patients.
        plan: of the tally's episodes.

    Attributes:
        keys: of the numbers, M of them.
        means: of the statistics that they are made of.
        values: float64 (M,); NaN where a number is undefined.
        episode_variance: of each mean over episodes (M,); None below two episodes.
        influence: change of each number when a unit is left out, by independent parts of the episodes,
            (n_parts, n_units, M); None: there is no interval over patients, for `reason`.
        batches: each number in equal shares of the episodes, to first order (n_batches, M).
    """

    def __init__(
        self, layout: AnyLayout, sums: EpisodeSums, tally: PatientTally | None, units: PatientUnits, plan: PatientPlan
    ) -> None:
        # Variances are carried over to the numbers to first order (the delta method).
        mean = torch.from_numpy(np.asarray(sums.moments.mean))
        found, slope = layout.numbers(mean), _slope(layout, mean)
        self.layout, self.units, self.plan, self.n_episodes = layout, units, plan, sums.n_episodes
        self.keys, self.means = tuple(found), mean.numpy()
        self.values = torch.stack(list(found.values())).numpy()
        self.batches = self.values + (sums.batch_means() - self.means) @ slope.T
        self.episode_variance: np.ndarray | None = None
        if (covariance := sums.moments.covariance) is not None:
            products = np.einsum("ms,st,mt->m", slope, covariance, slope, optimize=True)
            self.episode_variance = np.maximum(products, 0.0) / sums.n_episodes  # rounding takes a zero below zero
        self.influence: np.ndarray | None = None
        self.reason: str | None = plan.reason or _TOO_FEW_WITHOUT
        if tally is not None and (changes := tally.changes()) is not None:
            # The tally's episodes may have fewer queries, so their means are where its changes start from.
            self.influence, self.reason = changes.numpy() @ np.nan_to_num(_slope(layout, tally.mean)).T, plan.reason

    def __contains__(self, key: Key) -> bool:
        return key in self.keys

    def estimate(self, *key: str) -> Estimate:
        """Return a number with its intervals, or why it is undefined."""
        place = self.keys.index(key)
        mean = float(self.values[place])
        if not np.isfinite(mean):
            return Estimate(None, reason="undefined: no query has the finding, or none was taken for it")
        if self.episode_variance is None:
            return Estimate(mean, reason="one episode gives no interval")
        over_episodes = float(self.episode_variance[place])
        interval = _number(key).cut(t_interval(mean, over_episodes, self.n_episodes - 1))
        if key[-1] == "auprc" and self.plan.asks_fewer:
            return Estimate(mean, interval, reason=_FEWER.format(self.units.over))
        return Estimate(mean, interval, self._over_patients(place), self.reason)

    def _over_patients(self, place: int) -> Interval | None:
        if self.influence is None or self.episode_variance is None:
            return None
        key, mean = self.keys[place], float(self.values[place])
        influence, over_episodes = self.influence[:, :, place], float(self.episode_variance[place])
        if 0 < mean < 1 and np.abs(influence).max() < _ROUNDING**0.5 and over_episodes < _ROUNDING:
            return mean, mean  # whoever the patients are, it is the same
        variance = population_variance(influence, self.units.n_patients)
        # The mean itself was taken over finitely many episodes.
        if key[-1] == "ece":  # a sum of gaps, not a share of patients
            return _number(key).cut(t_interval(mean, max(0.0, variance) + over_episodes, self.degrees))
        variance = variance + over_episodes if variance > _ROUNDING else 0.0  # 0: as many patients as there are
        return _number(key).interval(mean, variance, degrees=self.degrees, n_patients=self._n_patients(key))

    @property
    def degrees(self) -> int:
        """Degrees of freedom of a variance over the units, each class having its own mean."""
        return max(1, self.units.n_units - len(self.units.patients_of_class))

    def _n_patients(self, key: Key) -> int:
        if key[0] != OF_FINDING or NUMBERS[key[-1]].is_ranking:
            return self.units.n_patients
        own = self.units.patients_of_class.get(self.layout.findings.index(key[1]), 1)
        return max(1, self.units.n_patients - own) if NUMBERS[key[-1]].rests_on in ("without", "rejected") else own

    def replicates(self) -> Replicates:
        """Return what a paired comparison with another result on the same episodes needs."""
        named = dict(_comparable(self.keys, self.values))
        n_kept = min(_MOST_KEPT, self.units.n_units)
        influence: dict[str, tuple[tuple[float, ...], ...]] = {}
        if self.influence is not None:
            kept = np.zeros((len(self.influence), n_kept, len(self.keys)))
            for unit in range(self.units.n_units):
                kept[:, unit % n_kept] += self.influence[:, unit]
            influence = {
                name: tuple(tuple(_short(value) for value in part) for part in kept[:, :, place].tolist())
                for name, place in named.items()
            }
        return Replicates(
            units_hash=self.units.hash,
            n_patients=self.units.n_patients,
            degrees=max(1, n_kept - len(self.units.patients_of_class)),
            influence=influence,
            batches={
                name: tuple(_short(value) for value in self.batches[:, place].tolist()) for name, place in named.items()
            },
        )


def paired_difference(first: Summary, second: Summary, *key: str) -> Estimate:
    """Return how much larger a number is in the first of two summaries of the very same episodes."""
    places = first.keys.index(key), second.keys.index(key)
    gap = float(first.values[places[0]] - second.values[places[1]])
    batches = first.batches[:, places[0]] - second.batches[:, places[1]]
    if len(batches) < 2:
        return Estimate(gap, reason="one episode gives no interval")
    influence = None
    if first.influence is not None and second.influence is not None:
        influence = first.influence[:, :, places[0]] - second.influence[:, :, places[1]]
    over_episodes, in_all = paired_variances(batches, influence, first.units.n_patients)
    over_patients = None if in_all is None else t_interval(gap, in_all, first.degrees)
    return Estimate(gap, t_interval(gap, over_episodes, len(batches) - 1), over_patients, first.reason)


def _slope(layout: AnyLayout, mean: Tensor) -> np.ndarray:
    """Return the derivative of each number by each mean, (M, n_statistics)."""
    # Each number is made of a row of its own, so that one pass backward serves all. torch.func would load torch's
    # compiler. In inference mode, which a caller may be in, every derivative would be 0.
    with torch.inference_mode(False), torch.enable_grad():
        rows = mean.repeat(len(layout.numbers(mean)), 1).requires_grad_()
        own = torch.stack(list(layout.numbers(rows).values())).diagonal()
        (slopes,) = torch.autograd.grad(own.sum(), rows)
    return slopes.numpy()


def _comparable(keys: tuple[Key, ...], values: np.ndarray) -> Iterator[tuple[str, int]]:
    """Yield the numbers that two results are compared by, and their places."""
    for place, key in enumerate(keys):
        if not np.isfinite(values[place]) or key[0] == "open_set":
            continue
        if len(key) == 1:
            yield key[0], place
        elif key[0] == "calibration" and key[1] == "0":
            yield key[2], place
        elif key[0] == "seen_and_novel":
            yield f"accuracy, {key[1].replace('_', ' ')}", place
        elif key[0] == OF_FINDING and NUMBERS[key[2]].is_compared:
            yield f"{key[2]} of {key[1]}", place


def _number(key: Key) -> Number:
    return NUMBERS.get(key[-1], _SHARE)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
