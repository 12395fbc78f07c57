"""`fscxr evaluate --classifier`: films through a trained classifier, one finding each or several."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from fewshot_cxr._checks import MOST_JUDGED, check_few_findings
from fewshot_cxr.cli.console import bars_for, say_problems
from fewshot_cxr.cli.exemplars import of_split, refuse_shared_patients
from fewshot_cxr.cli.sources import Reading, read_films, reader_and_path
from fewshot_cxr.evaluation import Result
from fewshot_cxr.evaluation.films.by_classifier import refuse_unknown_findings
from fewshot_cxr.inference import Classifier, load_classifier
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.judging import closed_warnings, evaluate_by_classifier
from fewshot_cxr.workflows.weights_seen import count_training_films, with_training_films

_CHOSE_EPOCH = "these films chose the epoch that was kept: numbers on them flatter"
_UNKNOWN_TRAINING = (
    "the films of the training are not among those of --data as its card knows them: whether films or patients of "
    "these were trained on cannot be seen"
)


def classifier_result(
    path: Path,
    source: str,
    split: str | None,
    calibrate_split: str | None,
    reading: Reading,
    *,
    allow_training_films: bool,
    compute: Compute,
) -> Result:
    """Evaluate a classifier of films with one finding each as a closed set, and any other finding by finding.

    Args:
        path: of the classifier.
        source: of the films, as a person wrote it.
        split: of the test films; None: test, where there is one.
        calibrate_split: of the films that a temperature is fitted on; None: none is fitted.
        reading: the flags.
        allow_training_films: evaluate what was trained on too; the result says so.
        compute: where it is done.
    """
    classifier = load_classifier(path)
    check_few_findings(classifier.findings, MOST_JUDGED, str(path))
    is_closed = _is_closed(classifier)
    if not is_closed and calibrate_split is not None:
        raise click.UsageError("--calibrate-split does not go with this classifier: it tells each finding for itself")
    records = read_films(source, reading, single_label=is_closed, several=not is_closed, allow_leak=True)
    parts = {"test": of_split(records, split, "test", "--split")}
    if calibrate_split is not None:
        parts["calibration"] = records.of_split(calibrate_split)
    for some in parts.values():
        (refuse_unknown_findings if is_closed else _refuse_strangers)(classifier.findings, some)
    reader, _ = reader_and_path(source)
    refuse_shared_patients({name: (some, reader) for name, some in parts.items()})
    note = "" if allow_training_films else _check_training(classifier, records, parts, reader)
    with bars_for(compute) as compute:
        spec = classifier.encoder.image_spec
        films = {name: compute.decode(some, spec, f"{name} films") for name, some in parts.items()}
        count = partial(count_training_films, classifier.encoder.card, path, is_allowed=allow_training_films)
        n_trained = count(films["test"])
        result = evaluate_by_classifier(
            classifier, films["test"], films.get("calibration"), is_multi_label=not is_closed, compute=compute
        )
    for decoded in films.values():
        say_problems(decoded.records)
    card = classifier.encoder.card
    chose_epoch = parts["test"].data_hash in (card.get("data_hash", {}).get("val"), *card.get("given_hash", ())[1:])
    warnings = closed_warnings(result, films["test"].records, classifier.encoder) if is_closed else ()
    result = replace(
        result,
        notes=(*result.notes, *([note] if note else [])),
        warnings=(*result.warnings, *warnings, *([_CHOSE_EPOCH] if chose_epoch else [])),
    )
    return with_training_films(result, n_trained)


def _is_closed(classifier: Classifier) -> bool:
    # Sigmoids may have been trained on films of one finding each, one against the rest.
    one_each = classifier.encoder.card.get("training", {}).get("is_multi_label") is False
    return classifier.activation == "softmax" or (one_each and len(classifier.findings) > 1)


def _refuse_strangers(findings: tuple[str, ...], films: Records) -> None:
    if not set(findings) & set(films.findings):
        raise ValueError(
            f"no film shows a finding that the classifier tells ({', '.join(findings)}); the films show "
            f"{', '.join(films.findings)}: rename them, or name other films (--data, --split)"
        )


def _check_training(classifier: Classifier, records: Records, parts: dict[str, Records], reader: str) -> str:
    """Refuse films and patients of the training as far as the classifier's card tells them; say where it does not."""
    card = classifier.encoder.card
    trained_on = (card.get("data_hash", {}).get("train"), *card.get("given_hash", ())[:1])
    if parts["test"].data_hash in trained_on:
        raise ValueError("these are the very films that the classifier was trained on; judge others (--split)")
    splits = sorted({film.split for film in records if film.split})
    trained = [some for some in map(records.of_split, splits) if some.data_hash in trained_on]
    for some in trained:
        refuse_shared_patients({name: (films, reader) for name, films in {"training": some, **parts}.items()})
    return "" if trained else _UNKNOWN_TRAINING
