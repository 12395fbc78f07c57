"""How many labelled films are enough, from films to a curve: decoded, embedded once, and evaluated at each shot."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fewshot_cxr.encoders import Encoder
from fewshot_cxr.evaluation import LearningCurve, measure_learning_curve
from fewshot_cxr.evaluation.warning_texts import TRAINED_ON
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.weights_seen import find_training_films, trained_on_text, with_weights


@dataclass(frozen=True, kw_only=True)
class CurveQuestion:
    """What a learning curve is asked: see `measure_learning_curve`, whose arguments these are."""

    shots: Sequence[int]
    ahead: Sequence[int] | None = None
    novel: Sequence[str] = ()
    n_way: int | None = None
    n_query: int
    n_episodes: int
    seed: int = 0


def measure_curve_of_films(
    encoder: Encoder,
    films: Records,
    question: CurveQuestion,
    *,
    rule: ExemplarRule,
    asked: Collection[str],
    support: Collection[str],
    checkpoint: Path,
    allow_training_films: bool = False,
    compute: Compute,
) -> tuple[LearningCurve, Records]:
    """Evaluate an encoder at several numbers of shots.

    Films that the encoder was trained on are neither asked nor, where others are asked, support.

    Args:
        encoder: that is evaluated.
        films: that may be asked or support, of one finding each.
        question: shots and episodes.
        rule: by which support decides, as of `ExemplarRule.for_encoder`.
        asked: paths of the films that may be asked.
        support: paths of those that may be support.
        checkpoint: run folder or file of the encoder.
        allow_training_films: take what the encoder was trained on too; the curve says so.
        compute: where it is done.

    Returns:
        The curve, and the films that could be read.

    Raises:
        ValueError: films that are asked were trained on, or as for `measure_learning_curve`.
    """
    decoded = compute.decode(films, encoder.image_spec)
    records = decoded.records
    trained = np.array(find_training_films(encoder.card, checkpoint, decoded), dtype=bool)
    may_query, may_support = (np.array([film.path in side for film in records]) for side in (asked, support))
    if not allow_training_films and (trained & may_query).any():
        rows = np.flatnonzero(may_query)
        raise ValueError(trained_on_text(records.take(rows.tolist()), trained[rows].tolist()))
    is_out = trained & may_support & (not allow_training_films)
    if is_out.any():
        kept = np.flatnonzero(may_query | (may_support & ~is_out))
        decoded = compute.decode(records.take(kept.tolist()), encoder.image_spec, "films not trained on")
        may_query, may_support = may_query[kept], may_support[kept]
    curve = measure_learning_curve(
        compute.embed(encoder, decoded),
        **vars(question),
        seen=encoder.card.get("findings"),
        may_support=may_support,
        may_query=may_query,
        **rule.settings(),
        device=compute.device,
        progress=compute.report("episodes"),
    )
    curve = with_weights(curve, encoder, records, curve.novel)
    if is_out.any():
        note = f"{_counted(records, is_out)} were trained on, and are no support"
        curve = replace(curve, notes=(note, *curve.notes))
    if allow_training_films and trained.any():
        told = f"{TRAINED_ON}: {_counted(records, trained)} were trained on; this measures what the encoder remembers"
        curve = replace(curve, warnings=(told, *curve.warnings))
    return curve, records


def _counted(records: Records, which: np.ndarray) -> str:
    """Return how many films, of which findings."""
    chosen = records.take(np.flatnonzero(which).tolist())
    counts = ", ".join(f"{name} {count}" for name, count in chosen.count_findings().items())
    return f"{len(chosen):,} films ({counts})"
