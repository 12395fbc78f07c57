"""`fscxr evaluate --classifier`: films through a trained classifier, one finding each or several."""

from dataclasses import replace
from functools import partial
from typing import Any

import click
import numpy as np
import torch

from fewshot_cxr.cli.console import progress_bars, say_problems
from fewshot_cxr.cli.flags import set_threads
from fewshot_cxr.cli.sides import of_split, refuse_shared_patients
from fewshot_cxr.cli.sources import read_films, reader_and_path, take_reading
from fewshot_cxr.data import cache_films, findings_table, patient_groups
from fewshot_cxr.evaluation import (
    Answers,
    Result,
    decide_by_classifier,
    evaluate_closed_set,
    evaluate_multi_label,
    sources_apart,
)
from fewshot_cxr.evaluation.closed_set.by_classifier import refuse_unknown_findings
from fewshot_cxr.inference import Classifier, classify_films, load_classifier
from fewshot_cxr.inference.embed import with_facts
from fewshot_cxr.records import Records

_CHOSE_EPOCH = "these films chose the epoch that was kept: numbers on them flatter"
_UNKNOWN_TRAINING = (
    "the films of the training are not among those of --data as its card knows them: whether films or patients of "
    "these were trained on cannot be seen"
)


def judge_classifier(options: dict[str, Any]) -> Result:
    """Judge a classifier of films with one finding each as a closed set, and any other finding by finding.

    Args:
        options: of the command `evaluate`.
    """
    set_threads(options["threads"])
    classifier = load_classifier(options["classifier"])
    is_closed = _is_closed(classifier)
    if not is_closed and options["calibrate_split"] is not None:
        raise click.UsageError("--calibrate-split does not go with this classifier: it tells each finding for itself")
    records = read_films(
        options["source"], take_reading(options), single_label=is_closed, several=not is_closed, allow_leak=True
    )
    sides = {"test": of_split(records, options["split"], "test", "--split")}
    if options["calibrate_split"] is not None:
        sides["calibration"] = records.of_split(options["calibrate_split"])
    for some in sides.values():
        (refuse_unknown_findings if is_closed else _refuse_strangers)(classifier.findings, some)
    reader, _ = reader_and_path(options["source"])
    refuse_shared_patients(sides, dict.fromkeys(sides, reader))
    note = _check_training(classifier, records, sides, reader)
    films, logits = _classified(classifier, sides, options)
    result = _closed_set(classifier, films, logits) if is_closed else _multi_label(classifier, films, logits)
    card = classifier.encoder.card
    chose_epoch = sides["test"].data_hash in (card.get("data_hash", {}).get("val"), *card.get("given_hash", ())[1:])
    return replace(
        result,
        notes=(*result.notes, *([note] if note else [])),
        warnings=(*result.warnings, *([_CHOSE_EPOCH] if chose_epoch else [])),
    )


def _is_closed(classifier: Classifier) -> bool:
    # Sigmoids may have been trained on films of one finding each, one against the rest.
    one_each = classifier.encoder.card.get("training", {}).get("is_multi_label") is False
    return classifier.activation == "softmax" or (one_each and len(classifier.findings) > 1)


def _classified(
    classifier: Classifier, sides: dict[str, Records], options: dict[str, Any]
) -> tuple[dict[str, Records], dict[str, np.ndarray]]:
    """Return the films of each side that can be read, and their logits."""
    cache = {"folder": options["cache_folder"], "n_workers": options["n_workers"]}
    work = {"device": options["device"], "batch_size": options["batch_size"]}
    found, logits = {}, {}
    with progress_bars() as progress:
        for side, records in sides.items():
            spec, report = classifier.encoder.image_spec, partial(progress, f"decoding {side}")
            films = cache_films(records, spec, **cache, progress=report)
            logits[side] = classify_films(classifier, films, **work, progress=partial(progress, f"classifying {side}"))
            found[side] = films.records
    for some in found.values():
        say_problems(some)
    return found, logits


def _closed_set(classifier: Classifier, films: dict[str, Records], logits: dict[str, np.ndarray]) -> Result:
    decisions: dict[str, Answers] = {
        side: decide_by_classifier(classifier.findings, logits[side], some, activation=classifier.activation)
        for side, some in films.items()
    }
    result = evaluate_closed_set(decisions["test"], calibration=decisions.get("calibration"))
    words = sources_apart(with_facts(logits["test"], films["test"]))
    return replace(result, warnings=(*result.warnings, words)) if words else result


def _multi_label(classifier: Classifier, films: dict[str, Records], logits: dict[str, np.ndarray]) -> Result:
    records = films["test"]
    result = evaluate_multi_label(
        classifier.findings,
        torch.from_numpy(logits["test"]).double().sigmoid().numpy(),
        findings_table(records, classifier.findings),
        patient_groups(records),
        [film.path for film in records],
    )
    if untold := [name for name in records.findings if name not in classifier.findings]:
        note = f"the classifier does not tell {', '.join(untold)}: films that show it count by the other findings"
        return replace(result, notes=(*result.notes, note))
    return result


def _refuse_strangers(findings: tuple[str, ...], films: Records) -> None:
    if not set(findings) & set(films.findings):
        raise ValueError(
            f"no film shows a finding that the classifier tells ({', '.join(findings)}); the films show "
            f"{', '.join(films.findings)}: rename them, or name other films (--data, --split)"
        )


def _check_training(classifier: Classifier, records: Records, sides: dict[str, Records], reader: str) -> str:
    """Refuse films and patients of the training as far as the classifier's card tells them; say where it does not."""
    card = classifier.encoder.card
    trained_on = (card.get("data_hash", {}).get("train"), *card.get("given_hash", ())[:1])
    if sides["test"].data_hash in trained_on:
        raise ValueError("these are the very films that the classifier was trained on; judge others (--split)")
    splits = sorted({film.split for film in records if film.split})
    trained = [some for some in map(records.of_split, splits) if some.data_hash in trained_on]
    for some in trained:
        known = {"training": some, **sides}
        refuse_shared_patients(known, dict.fromkeys(known, reader))
    return "" if trained else _UNKNOWN_TRAINING
