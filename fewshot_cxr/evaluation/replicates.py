"""What a paired comparison of results of the same episodes needs beside their numbers."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Replicates:
    """What a paired comparison needs: how each number moves when patients are left out, and in parts of the episodes.

    `influence[number][part][unit]` is the change of the number when the unit (patients, in a fixed order) is left out,
    as the episodes of that part see it: parts are independent, so products of different parts carry no Monte-Carlo
    noise. `batches[number]` are means over as many equal shares of the episodes. `units_hash` names the units.
    """

    units_hash: str = ""
    n_patients: int = 0
    degrees: int = 1
    influence: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    batches: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(map(len, self.batches.values()))) > 1:
            raise ValueError("replicates.batches must have equally many shares of each number")
        shapes = {(len(parts), *{len(part) for part in parts}) for parts in self.influence.values()}
        if len(shapes) > 1 or any(len(shape) != 2 or not all(shape) for shape in shapes):
            raise ValueError("replicates.influence must have equally many units in equally many parts of each number")

    def have_shape_of(self, other: "Replicates") -> bool:
        """Return whether each number that is in both moves in as many shares, parts and units."""
        pairs = ((self.batches, other.batches), (self.influence, other.influence))
        return all(np.shape(one[name]) == np.shape(two[name]) for one, two in pairs for name in one.keys() & two.keys())
