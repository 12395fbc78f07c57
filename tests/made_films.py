"""Embedded films made by chance, and one slow walk over episodes that every number can be checked against."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fewshot_cxr.embeddings import Embeddings


def make_films(
    n_patients=30, films_of_patient=(1, 2, 3), dim=6, n_classes=3, *, spread=1.5, within=0.5, seed=0, n_mixed=0, **facts
):
    """Make n_patients of each class with a few films each; the first n_mixed have one film of the next class too."""
    draw = np.random.default_rng(seed)
    vectors, class_ids, patients = [], [], []
    for class_id in range(n_classes):
        for number in range(n_patients):
            centre = draw.normal(size=dim) + spread * np.eye(dim)[class_id % dim]
            for _ in range(draw.choice(films_of_patient)):
                vectors.append(centre + within * draw.normal(size=dim))
                class_ids.append(class_id)
                patients.append(f"{class_id}-{number}")
            if number < n_mixed:
                vectors.append(centre + within * draw.normal(size=dim))
                class_ids.append((class_id + 1) % n_classes)
                patients.append(f"{class_id}-{number}")
    facts = {"class_names": [f"finding {c}" for c in range(n_classes)], **facts}
    facts.setdefault("paths", [f"{seed}/{i}.png" for i in range(len(vectors))])
    return Embeddings(np.array(vectors), class_ids, patients, **facts)


def make_image_folder(folder, n_patients=14, findings=("bright", "dark", "striped")):
    """Write films that a small network can tell apart, one folder a finding; return the folder."""
    draw = np.random.default_rng(0)
    for finding in findings:
        (folder / finding).mkdir(parents=True)
        for patient in range(n_patients):
            image = draw.normal(100, 20, (40, 40)) + {"bright": 60, "dark": -60}.get(finding, 0)
            image[::6] += 80 * (finding == "striped")
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / finding / f"{patient:02d}.png")
    return folder


def make_multi_label(n=240, n_findings=4, *, dim=6, seed=0):
    """Make films of none, one or several findings, some of them not stated."""
    draw = np.random.default_rng(seed)
    stated = (draw.random((n, n_findings)) < 0.35).astype(float)
    vectors = draw.normal(size=(n, dim)) + 1.5 * stated @ np.eye(n_findings, dim)
    stated[draw.random(stated.shape) < 0.1] = np.nan
    names = [f"finding {c}" for c in range(n_findings)]
    paths = [f"{i}.png" for i in range(n)]
    return Embeddings(vectors, stated, draw.integers(0, n // 2, n), class_names=names, paths=paths)


def change(films: Embeddings, order=None, **facts) -> Embeddings:
    """Return films with other facts, and in another order of rows."""
    order = np.arange(len(films)) if order is None else order
    old = {
        "vectors": films.vectors[order],
        "class_ids": films.class_ids[order],
        "patient_ids": films.patient_ids[order],
        "class_names": films.class_names,
        "sources": None if films.sources is None else [films.sources[row] for row in order],
        "paths": None if films.paths is None else [films.paths[row] for row in order],
    }
    return Embeddings(**{**old, **facts})


@dataclass(frozen=True)
class SlowEpisode:
    """One episode, decided one film at a time in float64."""

    class_ids: np.ndarray  # (n_way,)
    support: list[list[int]]
    rows: np.ndarray  # (n_queries,)
    labels: np.ndarray  # (n_queries,), 0..n_way-1
    distances: np.ndarray  # (n_queries, n_way)
    outside: np.ndarray  # (n_outside, n_way)
    outside_rows: np.ndarray  # (n_outside,)

    def probabilities(self, temperature=1.0, *, of_outside=False):
        """Return the softmax over minus the distances."""
        weights = np.exp(-(self.outside if of_outside else self.distances) / temperature)
        return weights / weights.sum(axis=1, keepdims=True)

    @property
    def margins(self):
        """Return the distance to the nearest other class less that to each."""
        ways = range(self.distances.shape[1])
        return np.stack(
            [np.delete(self.distances, way, axis=1).min(axis=1) - self.distances[:, way] for way in ways], 1
        )

    @property
    def credits(self):
        """Return 1 for the nearest class, 1/k where k are."""
        nearest = np.isclose(self.distances, self.distances.min(axis=1, keepdims=True), rtol=1e-6, atol=1e-9)
        return nearest / nearest.sum(axis=1, keepdims=True)

    @property
    def right(self):
        """Return the credit of the true class of each query."""
        return self.credits[np.arange(len(self.labels)), self.labels]


def slow_episodes(films: Embeddings, episodes, rule="mean_distance") -> Iterator[SlowEpisode]:
    """Walk over the episodes; the rule is mean_distance or prototype, euclidean."""
    vectors = films.vectors.astype(np.float64)

    def decide(row, support):
        if rule == "prototype":
            return [np.linalg.norm(vectors[row] - vectors[own].mean(axis=0)) for own in support]
        return [np.mean([np.linalg.norm(vectors[row] - vectors[one]) for one in own]) for own in support]

    for block in episodes.blocks():
        for number in range(len(block)):
            support = [[row for row in own if row >= 0] for own in block.support[number].tolist()]
            asked = [(row, way) for way, own in enumerate(block.query[number].tolist()) for row in own if row >= 0]
            outside = [] if block.outside is None else block.outside[number].tolist()
            yield SlowEpisode(
                block.class_ids[number],
                support,
                np.array([row for row, _ in asked]),
                np.array([way for _, way in asked]),
                np.array([decide(row, support) for row, _ in asked]),
                np.array([decide(row, support) for row in outside]).reshape(len(outside), len(support)),
                np.array(outside, dtype=int),
            )
