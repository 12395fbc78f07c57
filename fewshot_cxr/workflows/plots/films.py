"""Figures of films, of a training, and of films beside those that lie near them among the embeddings."""

import warnings
from functools import cache

import numpy as np
import torch
from PIL import Image

from fewshot_cxr import visualise
from fewshot_cxr._checks import nearest
from fewshot_cxr.data import CachedFilms, cache_films, read_gray
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import sample_exemplars
from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import generator
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import Exemplars
from fewshot_cxr.workflows.plots.inputs import PlotInputs, PlotOptions, given_embeddings
from fewshot_cxr.workflows.rank_tables import draw_rank_table, rank_tables

_SIDE = 320  # pixels of a small picture
_N_SAMPLES, _N_NEAREST, _N_EXEMPLARS = 5, 5, 5
_MOST_QUERIES = 6
_NO_SPLIT = "films"


def draw_learning(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw loss and accuracy by epoch."""
    return visualise.learning_curves_figure(inputs.history, best_epoch=inputs.best_epoch, **options.look)


def draw_class_counts(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw how many films of each finding each split has."""
    films = _films(inputs)
    splits = dict.fromkeys(sorted({film.split or "" for film in films}, key=_split_order))
    counts = {
        split or _NO_SPLIT: films.where(lambda film, split=split: (film.split or "") == split).count_findings()  # type: ignore[misc]  # mypy loses the default's type
        for split in splits
    }
    return visualise.class_counts_figure(counts, **options.look)


def draw_samples(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw some films of each finding, of different patients; one that cannot be read is named and left out."""
    films, rows = sample_exemplars(_films(inputs), _N_SAMPLES, seed=options.seed), dict[str, list[np.ndarray]]()
    for film in films:
        try:
            picture = _picture(films, film)
        except OSError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
        else:
            rows.setdefault(film.finding, []).append(picture)
    if not rows:
        raise OSError("not one of the films that were drawn can be read: see the warnings")
    return visualise.sample_grid_figure(dict(sorted(rows.items())), **options.look)


def draw_neighbours(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw a film of each finding, or the films asked for, beside the nearest films of other patients."""
    embedded, records = _embedded(inputs, "neighbours")
    asked_rows, known_rows = _sides(records)
    if options.queries:
        asked = _rows_of(options.queries, records)
    else:
        some = sample_exemplars(records.take(asked_rows), 1, seed=options.seed)
        asked = _rows_of([film.path for film in some], records)[:_MOST_QUERIES]
    near = {row: _nearest(embedded, row, known_rows, options.distance) for row in asked}
    picture = cache(lambda row: _picture(records, records[row]))
    rows = [
        visualise.NeighbourRow(
            picture(row),
            records[row].path,
            records[row].finding,
            [(picture(other), records[other].finding, far) for other, far in near[row]],
        )
        for row in asked
    ]
    return visualise.neighbours_figure(rows, **options.look)


def draw_ranks(inputs: PlotInputs, options: PlotOptions) -> visualise.Figure:
    """Draw a film beside exemplars of other patients by rank, and its mean distance to each finding."""
    embedded, records = _embedded(inputs, "ranks")
    asked_rows, known_rows = _sides(records)
    if len(options.queries) > 1:
        raise ValueError(f"ranks: one film has a table, got {len(options.queries)}; name one (--film)")
    if options.queries:
        query = _rows_of(options.queries, records)[0]
    else:
        query = asked_rows[int(generator(options.seed, "plot ranks").integers(len(asked_rows)))]
    others = _of_other_patients(embedded, query, known_rows, "ranks")
    exemplars = decoded(sample_exemplars(records.take(others), _N_EXEMPLARS, seed=options.seed), _SIDE, options)
    known = embedded.take(_rows_of([film.path for film in exemplars.records], records))
    compared = Exemplars(exemplars, known, ExemplarRule(distance=options.distance))
    asked = decoded(records.take([query]), _SIDE, options)
    table = rank_tables(compared, asked, embedded.take([query]), 1, seed=options.seed)[0]
    return draw_rank_table(table, **options.look)


def matched_films(embedded: Embeddings, films: Records | None, what: str) -> Records:
    """Return the films that the embeddings are of, in their order.

    Raises:
        ValueError: there are no films, or one that was embedded is not among them.
    """
    if films is None:
        raise ValueError(f"{what} needs the films that were embedded: name them (--data)")
    if embedded.paths is None:
        raise ValueError(f"{what}: these embeddings have no paths of films; `fscxr embed` writes some that have")
    place = {film.path: row for row, film in enumerate(films)}
    strange = [path for path in embedded.paths if path not in place]
    if strange:
        raise ValueError(
            f"{what}: {len(strange)} of {len(embedded)} embedded films are not among those of --data, the first: "
            f"{strange[0]}; name the data that was embedded"
        )
    return films.take(place[path] for path in embedded.paths)


def decoded(records: Records, size_px: int, options: PlotOptions) -> CachedFilms:
    """Decode films into squares; none may be lost.

    Raises:
        OSError: one is unreadable.
    """
    films = cache_films(records, ImageSpec(size_px=size_px), folder=options.cache_folder)
    if len(films) < len(records):
        first = films.records.problems[len(records.problems)]
        raise OSError(f"film {first.path} cannot be drawn: {first.reason}")
    return films


def _films(inputs: PlotInputs) -> Records:
    if inputs.films is None or not len(inputs.films):
        raise ValueError(f"{inputs.name} holds no films")
    return inputs.films


def _embedded(inputs: PlotInputs, kind: str) -> tuple[Embeddings, Records]:
    embedded = given_embeddings(inputs)
    return embedded, matched_films(embedded, inputs.films, kind)


def _sides(records: Records) -> tuple[list[int], list[int]]:
    """Return which films are asked and which they are compared with: test and train where there are both, else all."""
    every = list(range(len(records)))
    test, train = ([row for row in every if records[row].split == split] for split in ("test", "train"))
    return (test, train) if test and train else (every, every)


def _rows_of(paths: tuple[str, ...] | list[str], records: Records) -> list[int]:
    place = {film.path: row for row, film in enumerate(records)}
    for path in paths:
        if path not in place:
            raise ValueError(f"no embedded film is called {path!r}{nearest(path, place)}; name it as the data does")
    return [place[path] for path in paths]


def _nearest(embedded: Embeddings, row: int, known: list[int], distance: str) -> list[tuple[int, float]]:
    """Return the nearest films of other patients: (row, distance), closest first."""
    others = _of_other_patients(embedded, row, known, "neighbours")
    vectors = torch.from_numpy(embedded.vectors)
    distances = pairwise_distances(vectors[[row]], vectors[others], distance)[0]
    order = torch.argsort(distances, stable=True)[:_N_NEAREST].tolist()
    return [(others[place], float(distances[place])) for place in order]


def _of_other_patients(embedded: Embeddings, row: int, known: list[int], kind: str) -> list[int]:
    others = [other for other in known if embedded.patient_ids[other] != embedded.patient_ids[row]]
    if not others:
        raise ValueError(f"{kind}: no film of another patient is there to compare with; embed more films")
    return others


def _picture(records: Records, film: Record) -> np.ndarray:
    """Read a film whole, borders and markers too, for a small picture: uint8 (H, W)."""
    try:
        image = Image.fromarray(read_gray(records.file(film)))
    except (OSError, ValueError) as error:
        raise OSError(f"film {film.path} cannot be drawn: {error}") from error
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image)


def _split_order(split: str) -> tuple[int, str]:
    usual = ("train", "val", "test")
    return (usual.index(split) if split in usual else len(usual), split)
