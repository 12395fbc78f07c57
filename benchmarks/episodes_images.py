"""Few-shot episodes from films: embedding each film once, beside easyfsl, which embeds 100 films in every episode.

    python benchmarks/episodes_images.py [--episodes 1000] [--device cuda]

600 drawn films in 5 classes, timm's ResNet-18 with random weights at 112 px; 5-way 5-shot 15-query. Ours is timed from
the PNG files on (decoding, cache, embedding, episodes); easyfsl gets decoded films in memory and the same encoder. Of
easyfsl a few episodes are measured: an episode costs the same whichever it is.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from episodes import (
    N_QUERY,
    N_SHOT,
    N_WAY,
    NOT_INSTALLED,
    RULES,
    PrototypicalNetworks,
    TaskSampler,
    judged,
    machine,
    timed_easyfsl,
)

from fewshot_cxr import ImageSpec, build_encoder
from fewshot_cxr.data import cache_films, to_images
from fewshot_cxr.data.synthetic import SYNTHETIC_FINDINGS, make_synthetic
from fewshot_cxr.inference import embed
from fewshot_cxr.records import Records

N_FILMS, SIZE_PX = 600, 112
N_MEASURED = 3  # episodes of each repeat of easyfsl


class LoadedFilms(torch.utils.data.Dataset):
    """Films as easyfsl's sampler wants them: decoded, in memory."""

    def __init__(self, images: torch.Tensor, labels: list[int]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], self.labels[index]

    def get_labels(self) -> list[int]:
        """Return the class of each film."""
        return self.labels


def make_films(folder: Path) -> Records:
    drawn = make_synthetic(folder, n_patients=80, findings=SYNTHETIC_FINDINGS[:N_WAY], size_px=SIZE_PX)
    per_class = N_FILMS // N_WAY
    rows = {name: [row for row, film in enumerate(drawn) if film.finding == name] for name in drawn.findings}
    kept = [row for some in rows.values() for row in some[:per_class]]
    return drawn.take(kept)


def ours(encoder, records: Records, cache: Path, n_episodes: int, device: str) -> tuple[float, float]:
    """Return the seconds from files to embeddings, and those of the episodes."""
    start = perf_counter()
    films = embed(encoder, records, cache_folder=cache, device=device)
    middle = perf_counter()
    judged(films, RULES[0], n_episodes, device)
    return middle - start, perf_counter() - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    n_episodes, device = arguments.episodes, arguments.device
    print(machine())
    spec = ImageSpec(size_px=SIZE_PX)
    encoder = build_encoder("timm:resnet18", image_spec=spec).to(device).eval()
    embedding, episodes, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        records = make_films(Path(folder) / "films")
        cached = cache_films(records, spec, folder=Path(folder) / "theirs")
        images = to_images(torch.from_numpy(cached.rows(np.arange(len(cached)))), spec)
        findings = cached.records.findings
        loaded = LoadedFilms(images, [findings.index(film.finding) for film in cached.records])
        for repeat in range(arguments.repeats):
            once = ours(encoder, records, Path(folder) / f"cache{repeat}", n_episodes, device)
            embedding.append(once[0])
            episodes.append(once[1])
            if TaskSampler is not None:
                theirs.append(timed_easyfsl(PrototypicalNetworks(encoder), loaded, device, N_MEASURED))
    show(embedding, episodes, theirs, n_episodes)


def show(embedding: list[float], episodes: list[float], theirs: list[float], n_episodes: int) -> None:
    """Print both ratios: with the pass over the films, which both need once at least, and without."""
    whole = median(one + other for one, other in zip(embedding, episodes, strict=True))
    print(f"{N_FILMS} films of {SIZE_PX} px, {n_episodes:,} episodes, medians of {len(episodes)}")
    print(f"ours: {median(embedding):.2f} s from files to embeddings, then {median(episodes):.3f} s for the episodes")
    if not theirs:
        print(f"easyfsl: {NOT_INSTALLED}")
        return
    speed = median(theirs)
    print(f"easyfsl: {speed:.2f} episodes/s over {N_MEASURED}; all would take {n_episodes / speed:,.0f} s")
    print(f"ratio, films included: {n_episodes / whole / speed:,.0f} times")
    print(f"ratio, episodes alone: {n_episodes / median(episodes) / speed:,.0f} times (goal: 1,000)")
    n_rows = N_WAY * (N_SHOT + N_QUERY)
    print(
        f"{n_episodes * n_rows:,} films are embedded there, {N_FILMS} here: films included, the ratio is about "
        f"{n_episodes * n_rows / N_FILMS:,.0f} where a film takes as long on either side, and grows with the episodes."
    )


if __name__ == "__main__":
    main()
