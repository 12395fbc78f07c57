"""The shape of every number: a mean with its two intervals, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A number with its two intervals.

    `ci95_patients` is the one to quote: where the number would lie with other patients of the same kind and the same
    encoder. `ci95_episodes` says only how finely the mean over all episodes of these very films is known; it shrinks
    with more episodes and says nothing of other patients. `reason` tells why a mean or an interval is absent.
    """

    mean: float | None
    ci95_episodes: Interval | None = None
    ci95_patients: Interval | None = None
    reason: str | None = None

    @property
    def ci95(self) -> Interval | None:
        """The population's interval, over patients."""
        return self.ci95_patients

    @property
    def value(self) -> float:
        """The mean where it must be there.

        Raises:
            ValueError: the number is undefined; the text says why.
        """
        if self.mean is None:
            raise ValueError(f"the number is undefined: {self.reason}")
        return self.mean

    def to_json(self) -> dict[str, Any]:
        """Return `{mean, ci95, ci95_episodes, ci95_patients}`, and `reason` where something is absent."""
        plain: dict[str, Any] = {"mean": self.mean}
        intervals = {"ci95": self.ci95, "ci95_episodes": self.ci95_episodes, "ci95_patients": self.ci95_patients}
        plain |= {name: None if pair is None else list(pair) for name, pair in intervals.items()}
        return plain if self.reason is None else plain | {"reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Estimate":
        """Rebuild from `to_json`; results of before the interval over patients have none."""
        return cls(value["mean"], _pair(value["ci95_episodes"]), _pair(value.get("ci95_patients")), value.get("reason"))


def _pair(value: Any) -> Interval | None:
    return None if value is None else (value[0], value[1])
