"""How labelled films decide what another film shows: the rule, with its distance and its options."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference.deciding import learned_options


@dataclass(frozen=True)
class ExemplarRule:
    """How labelled films decide what another film shows.

    Args:
        name: in RULES; "": what the encoder was made for, else mean_distance.
        distance: in DISTANCES; "": as in training.
        options: of the rule.
    """

    name: str = "mean_distance"
    distance: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Return it as the keywords of `evaluate_plan` and its like."""
        return {"rule": self.name, "distance": self.distance, "rule_options": self.options}

    def for_encoder(self, encoder: Encoder, checkpoint: Path) -> "ExemplarRule":
        """Return it with what the encoder was trained by: its rule, its distance, the weights that a template takes."""
        name = self.name or encoder.card.get("rule", ExemplarRule().name)
        learned = learned_options(name, encoder, checkpoint)
        distance = self.distance or encoder.card.get("distance", "euclidean")
        return replace(self, name=name, distance=distance, options={**self.options, **learned})
