"""How numbers change without a patient, finding by finding, in a slow loop over episodes."""

from collections import defaultdict

import numpy as np


def slow_roles(films, units, episodes, *, queries_only=False):
    """Return per episode: (place, finding) -> units with a film drawn for it; the place is "in" or "outside"."""
    found = []
    for block in episodes.blocks(64):
        for number in range(len(block)):
            roles = defaultdict(set)
            for way, class_id in enumerate(block.class_ids[number].tolist()):
                for side in (block.query,) if queries_only else (block.support, block.query):
                    roles["in", class_id] |= {units.unit_of_row[row] for row in side[number, way] if row >= 0}
            if block.outside is not None and not queries_only:
                for row in block.outside[number].tolist():
                    roles["outside", int(films.class_ids[row])].add(units.unit_of_row[row])
            found.append(roles)
    return found


def slow_changes(films, units, episodes, number, *, n_parts, queries_only=False):
    """Return the change of number(numbers of episodes) without each unit, a list of units for each part."""
    roles = slow_roles(films, units, episodes, queries_only=queries_only)
    changes = []
    for part in range(n_parts):
        own = range(part, len(roles), n_parts)
        changes.append([0.0] * units.n_units)
        for unit in range(units.n_units):
            classes = np.unique(films.class_ids[units.unit_of_row == unit]).tolist()
            for role in [(place, class_id) for place in ("in", "outside") for class_id in classes]:
                holding = [e for e in own if role in roles[e]]
                if holding:
                    without = [e for e in holding if unit not in roles[e][role]]
                    effect = number(without) - number(holding)
                    changes[part][unit] = changes[part][unit] + len(holding) / len(own) * effect
    return np.array(changes)
