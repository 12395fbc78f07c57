"""Few-shot episodes from films: embedding each film once, beside easyfsl, which embeds 100 films in every episode.

    python benchmarks/performance/episodes_images.py [--device cuda] [--json FILE] [--smoke]

600 drawn films in 5 classes, timm's ResNet-18 with random weights at 112 px; 5-way 5-shot 15-query. Ours is timed from
the PNG files on (decoding, cache, embedding, episodes); easyfsl gets decoded films in memory and the same encoder, as
LibFewShot's loop does. Of easyfsl a few episodes are measured: an episode costs the same whichever it is.
"""

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
    timed_easyfsl,
)
from question import Answer, Mark, settings, tell

from fewshot_cxr import ImageSpec, build_encoder
from fewshot_cxr.data import cache_films, to_images
from fewshot_cxr.data.synthetic import SYNTHETIC_FINDINGS, make_synthetic
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.inference import embed
from fewshot_cxr.records import Records

N_FILMS, SIZE_PX = 600, 112
N_MEASURED = 3  # episodes of each repeat of easyfsl
AT_LEAST = 1000
HEADS = ("", "seconds", "episodes/s", "times theirs")


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


def ours(encoder: Encoder, records: Records, cache: Path, n_episodes: int, device: str) -> tuple[float, float]:
    """Return the seconds from files to embeddings, and those of the episodes."""
    start = perf_counter()
    films = embed(encoder, records, cache_folder=cache, device=device)
    middle = perf_counter()
    judged(films, RULES[0], n_episodes, device)
    return middle - start, perf_counter() - middle


def theirs(encoder: Encoder, loaded: LoadedFilms, device: str) -> float:
    """Return easyfsl's seconds for an episode."""
    start = perf_counter()
    timed_easyfsl(PrototypicalNetworks(encoder), loaded, device, N_MEASURED)
    return (perf_counter() - start) / N_MEASURED


def measured(n_episodes: int, n_repeats: int, device: str) -> tuple[list[tuple[float, float]], list[float]]:
    """Measure both in turn: of ours (embedding, episodes), of easyfsl an episode; nothing where it is not installed."""
    spec = ImageSpec(size_px=SIZE_PX)
    encoder = build_encoder("timm:resnet18", image_spec=spec).to(device).eval()
    own, others = [], []
    with tempfile.TemporaryDirectory() as folder:
        records = make_films(Path(folder) / "films")
        cached = cache_films(records, spec, folder=Path(folder) / "theirs")
        images = to_images(torch.from_numpy(cached.rows(np.arange(len(cached)))), spec)
        findings = cached.records.findings
        loaded = LoadedFilms(images, [findings.index(film.finding) for film in cached.records])
        for repeat in range(n_repeats):
            own.append(ours(encoder, records, Path(folder) / f"cache{repeat}", n_episodes, device))
            if TaskSampler is not None:
                others.append(theirs(encoder, loaded, device))
    return own, others


def main() -> None:
    """Measure, and tell: with the pass over the films, which both need once at least, and without."""
    arguments = settings(__doc__).parse_args()
    n_episodes, n_repeats = (50, 1) if arguments.smoke else (1000, 3)
    own, others = measured(n_episodes, n_repeats, arguments.device)
    embedding, episodes = (median(one) for one in zip(*own, strict=True))
    rows, marks = [], []
    their_seconds = median(others) * n_episodes if others else None
    for name, seconds in (("ours, from files", embedding + episodes), ("ours, from embeddings", episodes)):
        times = "-" if their_seconds is None else f"{their_seconds / seconds:,.0f}"
        rows.append((name, f"{seconds:.3f}", f"{n_episodes / seconds:,.0f}", times))
    if their_seconds is None:
        rows.append(("easyfsl, embedding in each episode", NOT_INSTALLED, "-", "-"))
    else:
        rows.append(("easyfsl, embedding in each episode", f"{their_seconds:,.0f}", f"{1 / median(others):.2f}", "1"))
        marks.append(Mark("from embeddings, times easyfsl", their_seconds / episodes, AT_LEAST))
    n_rows = N_WAY * (N_SHOT + N_QUERY)
    note = (
        f"{N_FILMS} films of {SIZE_PX} px, {n_episodes:,} episodes (easyfsl: {N_MEASURED}, extrapolated), medians of "
        f"{n_repeats}. There {n_episodes * n_rows:,} films are embedded, here {N_FILMS}: films included, the ratio is "
        f"about {n_episodes * n_rows / N_FILMS:,.0f} where a film takes as long on either side, and grows with the "
        "episodes."
    )
    tell(Answer("Episodes from films: each film embedded once", HEADS, rows, marks, note), arguments.json)


if __name__ == "__main__":
    main()
