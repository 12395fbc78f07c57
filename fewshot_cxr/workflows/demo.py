"""The library's story on synthetic films: an encoder is taught what is known, a new finding comes, a bank answers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_cxr._kinds import EPISODES, PROVENANCE_FILE
from fewshot_cxr._progress import Bar, Bars
from fewshot_cxr.data import split_by_patient, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import weights_spec, with_given
from fewshot_cxr.evaluation import Result, evaluate_closed_set, evaluate_episodes
from fewshot_cxr.inference import Prediction, embed_baselines, predict, sample_exemplars
from fewshot_cxr.records import Records
from fewshot_cxr.training import SiameseTrainer, TrainedEncoder
from fewshot_cxr.whole_files import write_json, write_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.demo_bank import BankStory, ask_bank
from fewshot_cxr.workflows.demo_page import DemoStory, demo_page, save_figures
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import Exemplars, embed_exemplars
from fewshot_cxr.workflows.run_names import provenance
from fewshot_cxr.workflows.run_report import ReportFilms, film_sections

NEW_FINDING = "peripheral_ground_glass"
N_SHOT = 5
RULE = "prototype"
_BATCH = 128
ENCODER = "efficientnet_lite0"
_SIZE_PX = 96  # half of what is drawn; twice the side takes four times as long
BANK_FILE = "demo.bank"
_WRITTEN = {
    BANK_FILE,
    PROVENANCE_FILE,
    "films",
    "masks",
    "manifest.csv",
    "checkpoint",
    "figures",
    "report.html",
    EPISODES,
    "closed_set.json",
    "bank.json",
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo found: episodes with the new finding, a prediction, its true finding, a bank's answers, a page."""

    episodes: Result
    prediction: Prediction
    true_finding: str
    bank: BankStory
    report: Path
    seconds: float


def run_demo(
    out: Path, *, seed: int = 0, n_patients: int = 100, device: str = "auto", progress: Bars | None = None
) -> DemoResult:
    """Draw films, teach a published encoder all findings but one, evaluate it with the new one, ask a support bank.

    Args:
        out: folder for films/, masks/, manifest.csv, checkpoint/, demo.bank, episodes.json, closed_set.json, bank.json,
            figures/ and report.html.
        seed: of everything.
        n_patients: of each finding, with 1 to 4 films each.
        device: as for `choose_device`.
        progress: called with (what is done, done, total).

    Returns:
        What was found. The same seed on the same machine finds the same.

    Raises:
        ValueError: the folder holds what no demo has written.
        ImportError: the package with the encoder's weights is not installed.
    """
    _refuse_strangers(out)
    made_by = provenance(f"fscxr demo --seed {seed}")
    write_json(out / PROVENANCE_FILE, made_by)
    published = _published()
    start, compute = time.perf_counter(), Compute(device=device, batch_size=_BATCH, progress=progress)
    drawn = make_synthetic(out, n_patients=n_patients, seed=seed, progress=compute.report("drawing films"))
    train, val, test = split_by_patient(drawn, (0.6, 0.1, 0.3), seed=seed)
    write_manifest(Records((*train, *val, *test), out), out / "manifest.csv", header={"seed": seed})
    known_train, known_val = (part.where(lambda film: film.finding != NEW_FINDING) for part in (train, val))
    trainer = SiameseTrainer(**published, keep="auto", seed=seed, device=device)
    trained = trainer.fit(known_train, known_val, out=out / "checkpoint", progress=progress)
    labelled = sample_exemplars(train, N_SHOT, seed=seed)
    used, exemplars = _embedded(trained, test, labelled, seed, compute)
    episodes = _episodes(used, trained.card["findings"], compute.report("episodes"))
    films, distance = used.test.records, used.rule.distance
    paths = [film.path for film in films]
    answers = predict(used.embeddings.vectors, paths, exemplars.embeddings, rule=RULE, distance=distance)
    story = DemoStory(
        trained=trained,
        results={"episodes": episodes, "closed_set": evaluate_closed_set(exemplars.decide(used.embeddings))},
        made_by=made_by,
        prediction=_typical(films, answers),
        true_finding=NEW_FINDING,
        test=films,
        exemplars=exemplars.films.records,
        bank=_bank(out, known_val, labelled, test, compute),
    )
    sections = film_sections(used, result=episodes, compute=compute)
    page = demo_page(story, sections, new_finding=NEW_FINDING, n_shot=N_SHOT)
    save_figures(story, out / "figures")
    told = {name: result.to_json() for name, result in story.results.items()} | {"bank": story.bank.to_json()}
    for name, plain in told.items():
        write_json(out / f"{name}.json", plain | {"made_by": story.made_by})
    write_text(out / "report.html", page)
    seconds = time.perf_counter() - start
    return DemoResult(episodes, story.prediction, story.true_finding, story.bank, out / "report.html", seconds)


def _published() -> dict[str, Any]:
    """Return which encoder is taken, with its published weights, and how its images are made."""
    spec = weights_spec(ENCODER, pretrained=True)
    assert spec is not None, "a published encoder knows its images"
    return {
        "encoder": ENCODER,
        "encoder_options": {"pretrained": True},
        "image_spec": with_given(spec, {"size_px": _SIZE_PX}),
    }


def _refuse_strangers(out: Path) -> None:
    """Refuse a folder with files that no demo has written: some of them would be replaced."""
    there = sorted(file.name for file in out.iterdir()) if out.is_dir() else []
    told = [out / name for name in (PROVENANCE_FILE, EPISODES) if name in there]
    is_ours = any('"command": "fscxr demo' in file.read_text(encoding="utf-8", errors="replace") for file in told)
    strangers = [name for name in there if name not in _WRITTEN or not is_ours]
    if strangers:
        raise ValueError(f"{out} holds {strangers[0]}, which is of no demo; name a new folder (--out)")


def _embedded(
    trained: TrainedEncoder, test: Records, labelled: Records, seed: int, compute: Compute
) -> tuple[ReportFilms, Exemplars]:
    """Embed the test films and the labelled ones, once."""
    encoder, rule = trained.encoder, ExemplarRule(RULE, trained.card["distance"])
    exemplars = embed_exemplars(encoder, labelled, rule, compute)
    films = compute.decode(test, encoder.image_spec, "test films")
    embeddings = compute.embed(encoder, films, "test films")
    used = ReportFilms(encoder=encoder, test=films, embeddings=embeddings, rule=rule, exemplars=exemplars, seed=seed)
    return used, exemplars


def _bank(out: Path, known: Records, labelled: Records, test: Records, compute: Compute) -> BankStory:
    """Make the bank of the known findings and the new one's few films, keep it, and ask it about the test films."""
    new = labelled.where(lambda film: film.finding == NEW_FINDING)
    report = compute.report("asking the bank")
    bank, story = ask_bank(out / "checkpoint", known, new, test, device=compute.device, report=report)
    bank.save(out / BANK_FILE)
    return story


def _episodes(used: ReportFilms, seen: Sequence[str], progress: Bar | None) -> Result:
    return evaluate_episodes(
        used.embeddings,
        n_shot=N_SHOT,
        n_query=10,
        n_episodes=2000,
        if_too_small="shrink_query",
        rule=RULE,
        distance=used.rule.distance,
        seed=used.seed,
        protocol="generalized",
        seen=seen,
        baselines=embed_baselines(used.test),
        progress=progress,
    )


def _typical(test: Records, predictions: Sequence[Prediction]) -> Prediction:
    """Return the answer to the film of the new finding that is neither the clearest nor the most doubtful one."""
    margins = []
    for film, answer in zip(test, predictions, strict=True):
        if film.finding == NEW_FINDING:
            others = [distance for name, distance in answer.distances.items() if name != NEW_FINDING]
            margins.append((min(others) - answer.distances[NEW_FINDING], answer.path, answer))
    return sorted(margins, key=lambda margin: margin[:2])[len(margins) // 2][2]
