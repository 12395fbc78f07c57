"""The library's story on synthetic films: train on the findings that are known, then a new one arrives with 5 films."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fewshot_cxr.data import CachedFilms, cache_films, split_by_patient, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.evaluation import EpisodicResult, evaluate_episodes
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import Prediction, embed_films, embed_floors, predict, sample_exemplars
from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import generator
from fewshot_cxr.storage import write_text
from fewshot_cxr.training import SiameseTrainer
from fewshot_cxr.workflows.demo_page import DemoFilms, demo_page, save_figures

Progress = Callable[[str, int, int], None]
NEW_FINDING = "peripheral_ground_glass"
N_SHOT = 5
RULE = "prototype"
# Embeddings from the pooled features: the head keeps what tells the known findings apart, and a new one needs more.
_TRAINING: dict[str, Any] = {"image_spec": ImageSpec(size_px=96), "encoder_options": {"output": "pooled"}}


@dataclass(frozen=True)
class DemoResult:
    """What the demo found: episodes that hold the new finding, one prediction, its true finding, and the page."""

    episodes: EpisodicResult
    prediction: Prediction
    true_finding: str
    report: Path
    seconds: float


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    n_patients: int = 100,
    n_epochs: int = 24,
    device: str = "auto",
    progress: Progress | None = None,
) -> DemoResult:
    """Draw films, train on all findings but one, judge in episodes that hold the new one too, and write a page.

    Args:
        out: folder for films/, manifest.csv, checkpoint/, figures/ and report.html.
        seed: of everything.
        n_patients: of each finding, with 1 to 4 films each.
        n_epochs: of training.
        device: as for `choose_device`.
        progress: called with (what is done, done, total).

    Returns:
        What was found. The same seed on the same machine finds the same.
    """
    start = time.perf_counter()
    drawn = make_synthetic(out, n_patients=n_patients, seed=seed, progress=_named(progress, "drawing films"))
    train, val, test = split_by_patient(drawn, (0.6, 0.1, 0.3), seed=seed)
    write_manifest(Records((*train, *val, *test), out), out / "manifest.csv", header={"seed": seed})
    known_train, known_val = (part.where(lambda film: film.finding != NEW_FINDING) for part in (train, val))
    trainer = SiameseTrainer(**_TRAINING, n_epochs=n_epochs, seed=seed, device=device)
    trained = trainer.fit(known_train, known_val, out=out / "checkpoint", progress=progress)
    films = cache_films(test, trained.encoder.image_spec)
    episodes = evaluate_episodes(
        embed_films(trained.encoder, films, device=device, progress=_named(progress, "embedding")),
        n_shot=N_SHOT,
        n_query=10,
        n_episodes=2000,
        rule=RULE,
        distance=trainer.distance,
        seed=seed,
        protocol="generalized",
        seen=trained.card["findings"],
        floor=embed_floors(films),
        progress=_named(progress, "episodes"),
    )
    asked = _one_new_film(test, seed)
    exemplars = cache_films(sample_exemplars(train, N_SHOT, seed=seed), trained.encoder.image_spec)
    prediction = _predict(trained.encoder, asked, test, exemplars, distance=trainer.distance, device=device)
    shown = DemoFilms(test, asked, exemplars.records)
    page = demo_page(episodes, prediction, trained, shown, new_finding=NEW_FINDING, n_shot=N_SHOT)
    save_figures(episodes, prediction, trained, shown, out / "figures")
    write_text(out / "report.html", page)
    return DemoResult(episodes, prediction, asked.finding, out / "report.html", time.perf_counter() - start)


def _named(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else partial(progress, what)


def _one_new_film(test: Records, seed: int) -> Record:
    arrived = test.where(lambda film: film.finding == NEW_FINDING)
    return arrived[int(generator(seed, "the film that is asked").integers(len(arrived)))]


def _predict(
    encoder: Encoder, asked: Record, test: Records, exemplars: CachedFilms, *, distance: str, device: str
) -> Prediction:
    query = cache_films(Records((asked,), test.root), encoder.image_spec)
    vectors = embed_films(encoder, query, device=device).vectors
    known = embed_films(encoder, exemplars, device=device)
    return predict(vectors, [asked.path], known, rule=RULE, distance=distance)[0]
