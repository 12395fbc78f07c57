"""When a bank gives no answer: which distance tells strangers, and the reasons for films, children's films and others.

    FSCXR_DATA=<folder with cxr3, ...> python benchmarks/bank_abstain.py [--seeds 5 6 7 8 9] [--shots 20] [--markdown]

For each split seed, cxr3 is divided 60/10/30 by patient group. The joined head of EfficientNet-Lite0, 320 px, is fitted
to normal and pneumonia of train, the bank holds films of val (`--shots 0`: all of them), and those of test are asked.
Distances were chosen on seeds 0 to 2. Within one source, cxr_ieee8023, the bank holds COVID-19 of half of the patients.

Caution: covid19 comes from one source of cxr3 and the known findings from another. The row `source` shows that knowing
the source alone tells covid19 without a miss, and the second table what is left within one source.

scikit-image and pydicom-data, where they are installed, lend photographs and other radiology. `--vectors FOLDER` keeps
pooled features. `--trained` asks a ResNet-9 that is trained on the known films of train instead.
"""

import argparse
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bank_abstain_pictures import Picture, read_kinds
from new_disease import RARE, mean, rows_of, share, show
from new_disease_methods import KNOWN, LITE0, LITE0_SPEC, Films, say
from scipy.stats import rankdata

from fewshot_cxr import ImageSpec, SiameseTrainer, build_encoder, read_dataset
from fewshot_cxr.data import read_gray, to_square
from fewshot_cxr.data.film_marks import FilmMarks, film_marks
from fewshot_cxr.encoders import Encoder, fit_joined_head
from fewshot_cxr.inference.bank import REASONS, Neighbourhood, Thresholds
from fewshot_cxr.inference.batches import embed_and_pool
from fewshot_cxr.metrics import Estimate, open_set_scores, t_interval, wilson_interval

NOVEL, INVERTED_STEP = "covid19", 3
ADDED = (0, 5, 10, 20)
OTHERS = ("children", "side views", "photographs")
Added = dict[int, tuple[float, float, int, int]]


@dataclass(frozen=True, eq=False)
class Asked:
    """Films as a bank sees them: pooled features, embeddings, patients."""

    pooled: np.ndarray
    vectors: np.ndarray
    patients: np.ndarray

    def take(self, rows: np.ndarray) -> "Asked":
        """Return some of them."""
        return Asked(self.pooled[rows], self.vectors[rows], self.patients[rows])


class Sets:
    """All pictures, by kind, with their marks and pooled features; embedded once."""

    def __init__(self, root: Path, folder: Path | None) -> None:
        self.cxr3 = Films(read_dataset("manifest", root / "cxr3" / "metadata.csv"), None)
        ieee = read_dataset("manifest", root / "cxr_ieee8023" / "metadata.csv")
        self.ieee = Films(ieee.where(lambda film: len(film.findings) == 1), None)
        self.folder = folder
        self.pictures = {"cxr3": _films(self.cxr3), "ieee8023": _films(self.ieee), **read_kinds(root)}
        every = self.pictures["cxr3"][::INVERTED_STEP]
        self.pictures["inverted"] = [replace(film, gray=255 - film.gray) for film in every]

    @cached_property
    def marks(self) -> dict[str, list[FilmMarks]]:
        """Marks of each picture."""
        return {kind: [film_marks(picture.gray) for picture in own] for kind, own in self.pictures.items()}

    def embedded(self, make: Callable[[], Encoder], name: str) -> dict[str, Asked]:
        """Return the pictures of each kind through an encoder, which is made when the first is not kept yet."""
        make = cache(make)
        return {kind: self._embedded(make, own, f"{name}, {kind}") for kind, own in self.pictures.items()}

    def _embedded(self, make: Callable[[], Encoder], pictures: Sequence[Picture], name: str) -> Asked:
        file = None if self.folder is None else self.folder / f"{name}.npz"
        if file is not None and file.is_file():
            with np.load(file) as kept:
                return Asked(kept["pooled"], kept["vectors"], kept["patients"])
        encoder = make()
        squares = [to_square(picture.gray, encoder.image_spec) for picture in pictures]
        batches = (np.stack(squares[first : first + 64]) for first in range(0, len(squares), 64))
        parts = list(embed_and_pool(encoder, batches, torch.device("cpu")))
        pooled, vectors = (np.concatenate(part) for part in zip(*parts, strict=True))
        asked = Asked(pooled, vectors, np.array([picture.patient for picture in pictures]))
        say(f"{name}: {len(pictures)} pictures")
        if file is not None:
            np.savez(file, pooled=asked.pooled, vectors=asked.vectors, patients=asked.patients)
        return asked


def _films(films: Films) -> list[Picture]:
    return [Picture(film.path, film.group, read_gray(films.records.file(film))) for film in films.records]


def lite0(sets: Sets) -> tuple[Encoder, dict[str, Asked]]:
    """Return the published encoder and all pictures through it."""
    spec = replace(LITE0_SPEC, size_px=320)
    encoder = build_encoder(LITE0, image_spec=spec, pretrained=True, pool="stages", output="pooled")
    return encoder, sets.embedded(lambda: encoder, LITE0)


def joined(sets: Sets, encoder: Encoder, pooled: Mapping[str, Asked], known: np.ndarray) -> dict[str, Asked]:
    """Return all pictures as the joined head has them that is fitted to the known films of train."""
    vectors = torch.from_numpy(pooled["cxr3"].pooled)
    class_ids = torch.from_numpy(np.unique(sets.cxr3.findings[known], return_inverse=True)[1])
    head = fit_joined_head(vectors[known], class_ids, encoder.pooled_widths)
    with torch.inference_mode():
        return {kind: replace(own, vectors=head(torch.from_numpy(own.pooled)).numpy()) for kind, own in pooled.items()}


def trained(sets: Sets, rows: Mapping[str, np.ndarray], seed: int) -> dict[str, Asked]:
    """Return all pictures through a ResNet-9 that learns from nothing but the known films of train."""

    def make() -> Encoder:
        parts = (sets.cxr3.records.take(rows[name].tolist()) for name in ("known", "known of val"))
        return SiameseTrainer(image_spec=ImageSpec(size_px=96), n_epochs=12, seed=0).fit(*parts, progress=None).encoder

    return sets.embedded(make, f"resnet9, split {seed}")


def scores(bank: Asked, findings: np.ndarray, asked: Asked) -> dict[str, np.ndarray]:
    """Return how strange each film is, by each way to measure it."""
    found = {}
    for space, own, films in (
        ("embedding", bank.vectors, asked.vectors),
        ("pooled", bank.pooled, asked.pooled),
    ):
        around = Neighbourhood(own, bank.patients)
        far = np.sqrt(np.maximum(_squares(films, own), 0))
        means = np.stack([far[:, findings == name].mean(axis=1) for name in np.unique(findings)], axis=1)
        found[f"{space}: mean distance to the nearest finding"] = means.min(axis=1)
        found[f"{space}: k-th exemplar"] = np.sort(far, axis=1)[:, around.k - 1]
        found[f"{space}: k-th exemplar, relative"] = around.distances(films)
        nearest = far.argsort(axis=1)[:, : around.k]
        found[f"{space}: nearest finding, relative"] = means.min(axis=1) / around.spacings[nearest].mean(axis=1)
    return found


def _squares(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    rows, columns = (np.asarray(values, dtype=np.float64) - columns.mean(axis=0) for values in (rows, columns))
    return np.square(rows).sum(axis=1)[:, None] - 2 * rows @ columns.T + np.square(columns).sum(axis=1)


def auroc(known: np.ndarray, new: np.ndarray, patients: np.ndarray) -> Estimate:
    """Return how well strangers are told, with an interval by leaving out each patient.

    Args:
        known: how strange films of known findings are.
        new: how strange others are.
        patients: of the first, then of the others.
    """
    values, is_new = np.concatenate([known, new]), np.arange(len(known) + len(new)) >= len(known)
    whole = _area(values, is_new)
    ids = np.unique(patients)
    parts = np.array([_area(values[patients != one], is_new[patients != one]) for one in ids])
    variance = (len(ids) - 1) / len(ids) * float(np.square(parts - parts.mean()).sum())
    low, high = t_interval(whole, variance, len(ids) - 1)
    return Estimate(whole, ci95_patients=(max(low, 0.0), min(high, 1.0)))


def _area(values: np.ndarray, is_new: np.ndarray) -> float:
    n_new = int(is_new.sum())
    return float((rankdata(values)[is_new].sum() - n_new * (n_new + 1) / 2) / (n_new * (len(values) - n_new)))


def told(bank: Asked, findings: np.ndarray, known: Asked, new: Asked) -> dict[str, tuple[Estimate, float]]:
    """Return, for each score, AUROC and the share of new films that pass where 95 % of the known ones do."""
    of_known, of_new = scores(bank, findings, known), scores(bank, findings, new)
    patients = np.concatenate([known.patients, new.patients])
    found = {}
    for name, values in of_known.items():
        _, accepted = open_set_scores(*(torch.from_numpy(-each) for each in (values, of_new[name])))
        found[name] = auroc(values, of_new[name], patients), float(accepted)
    return found


def bank_rows(sets: Sets, rows: Mapping[str, np.ndarray], seed: int, n_shot: int) -> np.ndarray:
    """Return films of val that are the bank: some of each known finding, or all."""
    numbers, found = np.random.default_rng(seed), []
    for name in KNOWN:
        own = rows["val"][sets.cxr3.findings[rows["val"]] == name]
        found.append(numbers.permutation(own)[: n_shot or None])
    return np.concatenate(found)


def told_in_one_source(sets: Sets, films: Asked, seed: int, n_shot: int) -> dict[str, tuple[Estimate, float]]:
    """Return the same where the bank holds COVID-19 and other films of the same source are new."""
    numbers, findings = np.random.default_rng(seed), sets.ieee.findings
    is_frontal = np.array([film.view != "L" for film in sets.ieee.records])
    covid = np.flatnonzero(is_frontal & (findings == "COVID-19"))
    new = np.flatnonzero(is_frontal & np.isin(findings, [name for name in RARE if name != "COVID-19"]))
    patients = np.unique(films.patients[covid])
    in_bank = np.isin(films.patients[covid], numbers.permutation(patients)[: len(patients) // 2])
    bank = numbers.permutation(covid[in_bank])[: 2 * n_shot or None]
    return told(films.take(bank), findings[bank], films.take(covid[~in_bank]), films.take(new))


def reasons(threshold: Thresholds, around: Neighbourhood, asked: Asked, marks: Sequence[FilmMarks]) -> list[str]:
    """Return the reason for each film, "answered" for those that have none."""
    distances = around.distances(asked.pooled)
    return [threshold.reason(own, of) or "answered" for own, of in zip(distances.tolist(), marks, strict=True)]


def added(sets: Sets, films: Asked, rows: Mapping[str, np.ndarray], bank: np.ndarray, seed: int) -> Added:
    """Return the shares of other covid19 films, and of known ones, that are too far once a few are in the bank."""
    novel, found = np.flatnonzero(sets.cxr3.findings == NOVEL), {}
    known = rows["test"][np.isin(sets.cxr3.findings[rows["test"]], KNOWN)]
    order = np.random.default_rng(seed).permutation(novel)
    _, firsts = np.unique(films.patients[order], return_index=True)
    one_each = order[np.sort(firsts)]  # a film of each patient
    for n_added in ADDED:
        own = films.take(np.concatenate([bank, one_each[:n_added]]))
        others = films.take(novel[~np.isin(films.patients[novel], films.patients[one_each[:n_added]])])
        around = Neighbourhood(own.pooled, own.patients)
        limit = Thresholds.fit(around).unknown_above
        shares = (float((around.distances(asked.pooled) > limit).mean()) for asked in (others, films.take(known)))
        found[n_added] = (*shares, len(np.unique(others.patients)), len(np.unique(films.patients[known])))
    return found


def judge(sets: Sets, films: Mapping[str, Asked], rows: Mapping[str, np.ndarray], seed: int, n_shot: int) -> Any:
    """Return what one split gives: scores on both sets, reasons of each kind, films and patients, the threshold."""
    findings = sets.cxr3.findings
    own = bank_rows(sets, rows, seed, n_shot)
    known = rows["test"][np.isin(findings[rows["test"]], KNOWN)]
    novel = np.flatnonzero(findings == NOVEL)
    bank, cxr3 = films["cxr3"].take(own), films["cxr3"]
    around = Neighbourhood(bank.pooled, bank.patients)
    threshold = Thresholds.fit(around)
    in_test = np.flatnonzero(np.isin(np.arange(0, len(findings), INVERTED_STEP), rows["test"]))
    kinds = {"known findings, same source": ("cxr3", known), "covid19 of cxr3": ("cxr3", novel)}
    kinds |= {"inverted films of cxr3": ("inverted", in_test)}
    kinds |= {name: (name, np.arange(len(films[name].patients))) for name in list(films)[2:] if name != "inverted"}
    given = {}
    for name, (kind, some) in kinds.items():
        asked = films[kind].take(some)
        answers = reasons(threshold, around, asked, [sets.marks[kind][row] for row in some.tolist()])
        given[name] = np.array(answers), asked.patients
    achieved = threshold.measured(around.distances(cxr3.take(known).pooled), cxr3.take(known).patients)
    upright, negative = cxr3.take(INVERTED_STEP * in_test), films["inverted"].take(in_test)
    is_nearer = around.distances(negative.pooled) < around.distances(upright.pooled)
    say(f"split {seed}: {len(own)} exemplars, threshold {threshold.unknown_above:.3f}")
    return (
        told(bank, findings[own], cxr3.take(known), cxr3.take(novel)),
        told_in_one_source(sets, films["ieee8023"], seed, n_shot),
        given,
        (threshold, achieved.achieved),
        float(is_nearer.mean()),
        added(sets, cxr3, rows, own, seed),
        {name: told(bank, findings[own], cxr3.take(known), films[name]) for name in OTHERS if name in films},
    )


def show_scores(points: Sequence[Any], table: Any) -> None:
    """Print how well each score tells new films."""
    rows = []
    for name in points[0][0]:
        cells = []
        for place in (0, 1):
            found = [point[place][name] for point in points]
            cells += [share(mean([one for one, _ in found])), f"{100 * np.mean([passed for _, passed in found]):.0f}"]
        cells += [f"{100 * np.mean([point[6][kind][name][0].value for point in points]):.0f}" for kind in points[0][6]]
        rows.append((name, *cells))
    rows.append(("source alone", "100", "0", "50", "95", *("100" for _ in points[0][6])))
    heads = ("score", "covid19 of cxr3", "pass at 95 %", "one source", "pass at 95 %", *points[0][6])
    table("How well a score tells films of no finding in the bank, mean over the splits", heads, rows)


def show_reasons(points: Sequence[Any], table: Any) -> None:
    """Print the share of films of each kind that get each reason."""
    columns, rows = ("answered", *(name for name in REASONS if name not in ("unreadable", "ambiguous"))), []
    for kind, (answers, _) in points[0][2].items():
        patients = [len(np.unique(point[2][kind][1])) for point in points]
        cells = []
        for name in columns:
            found = float(np.mean([(point[2][kind][0] == name).mean() for point in points]))
            low, high = wilson_interval(found * np.mean(patients), float(np.mean(patients)))
            cells.append(share(Estimate(found, ci95_patients=(low, high))) if found else "0")
        rows.append((f"{kind} ({len(answers)} of {patients[0]})", *cells))
    table("Share of films by reason, mean over the splits (interval of as many patients)", ("kind", *columns), rows)


def show_rates(points: Sequence[Any], seeds: Sequence[int], table: Any) -> None:
    """Print what the thresholds achieve."""
    rows = [
        (f"{seed}", f"{own.n_patients}", f"{own.unknown_above:.3f}", share(own.achieved), share(apart))
        for seed, (_, _, _, (own, apart), *_) in zip(seeds, points, strict=True)
    ]
    rows.append(("mean", "", "", *(share(mean([of(point[3]) for point in points])) for of in (_inside, _apart))))
    by_encoder = np.mean([point[4] for point in points])
    print(
        f"\nBy the encoder alone, the negative of a film lies nearer to the bank for {100 * by_encoder:.1f} % of films"
    )
    heads = ("split seed", "patients", "threshold", "turned away in the bank", "turned away of test")
    table("Patients of known findings who are turned away as too far, 5 % asked for", heads, rows)


def show_added(points: Sequence[Any], table: Any) -> None:
    """Print what is too far once covid19 films are in the bank."""
    rows = []
    for n_added in ADDED:
        found = np.mean([point[5][n_added] for point in points], axis=0)
        cells = []
        for own, n_patients in ((found[0], found[2]), (found[1], found[3])):
            cells.append(share(Estimate(float(own), ci95_patients=wilson_interval(own * n_patients, n_patients))))
        rows.append((f"{n_added}", *cells))
    table(f"Share of films that are too far once {NOVEL} is added", ("films added", NOVEL, "known findings"), rows)


def _inside(found: tuple[Thresholds, Estimate]) -> Estimate:
    return found[0].achieved


def _apart(found: tuple[Thresholds, Estimate]) -> Estimate:
    return found[1]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7, 8, 9], help="of the splits of cxr3")
    parser.add_argument("--shots", type=int, default=20, help="exemplars of a finding; 0: all films of val")
    parser.add_argument("--trained", action="store_true", help="a ResNet-9 that is trained here")
    parser.add_argument("--vectors", type=Path, metavar="FOLDER", help="keep pooled features here")
    parser.add_argument("--markdown", action="store_true", help="tables as docs/bank.md has them")
    arguments = parser.parse_args()
    root = os.environ.get("FSCXR_DATA")
    if root is None:
        parser.error("set FSCXR_DATA to the folder that holds cxr3/metadata.csv")
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch "
        f"{torch.__version__}; split seeds {arguments.seeds}, {arguments.shots or 'all'} exemplars a finding"
    )
    sets, points = Sets(Path(root), arguments.vectors), []
    encoder, pooled = (None, {}) if arguments.trained else lite0(sets)
    for seed in arguments.seeds:
        rows = rows_of(sets.cxr3, seed)
        films = trained(sets, rows, seed) if encoder is None else joined(sets, encoder, pooled, rows["known"])
        points.append(judge(sets, films, rows, seed, arguments.shots))
    table = partial(show, markdown=arguments.markdown)
    show_scores(points, table)
    show_reasons(points, table)
    show_rates(points, arguments.seeds, table)
    show_added(points, table)


if __name__ == "__main__":
    main()
