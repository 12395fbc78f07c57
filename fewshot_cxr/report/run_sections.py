"""What was run, and how each result was made: the facts that a reader needs to do it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.report.episode_words import judged_text, protocol_facts
from fewshot_cxr.report.html import Section
from fewshot_cxr.unknown_patients import of_patients

Facts = tuple[tuple[str, str], ...]

_NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class ShownRun:
    """A run folder: its card, the header of its split.csv ({}: none), its epochs, and its making."""

    name: str
    card: Mapping[str, Any]
    split: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()
    made_by: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownResult:
    """A result, what it is called, and how it was made: command, versions, date and machine, as far as recorded."""

    name: str
    result: Result
    made_by: Mapping[str, Any] = field(default_factory=dict)


def run_section(run: ShownRun) -> Section:
    """Show what was trained, on which films, with which versions."""
    card, training = run.card, run.card.get("training", {})
    split = run.split
    n_films, n_patients = card.get("n_films", {}), card.get("n_patients", {})
    n_unknown = card.get("n_films_without_patient", {})
    hashes = card.get("data_hash", {})
    facts = [
        ("recipe", _recipe_text(split)),
        ("encoder", _encoder_text(card)),
        ("weights it started from", _weights_text(card.get("weights", {}))),
        ("loss", _joined(training, ("loss", "miner", "distance", "margin"))),
        ("training", _joined(training, ("optimizer", "lr", "batch_size", "n_epochs"))),
        ("findings", ", ".join(card.get("findings", ()))),
        *(
            (f"films of {part}", f"{n:,}{of_patients(n, n_patients.get(part, 0), n_unknown.get(part, 0))}")
            for part, n in n_films.items()
        ),
        *((f"hash of the films of {part}", str(text)) for part, text in hashes.items()),
        ("hash of the split", str(split.get("hash", ""))),
        ("seed", str(training.get("seed", _NOT_RECORDED))),
        ("best epoch", _best_text(run)),
        ("weight of what was taught, beside what is kept", _keep_text(card)),
        ("versions", _versions_text(card.get("versions", {}))),
        *_made_by_facts(run.made_by),
    ]
    return Section(f"What was trained: {run.name}", facts=tuple((name, text) for name, text in facts if text))


def making_facts(shown: ShownResult) -> Facts:
    """Return what a result was judged on and how it was made, as (name, text) pairs."""
    result, made_by = shown.result, shown.made_by
    facts: Facts
    if result.episodes is not None:
        facts = protocol_facts(result)
    else:
        facts = (("films judged", judged_text(result, unit="")),)
        if result.kind == "closed_set":
            facts += (("rule", f"{result.rule}{f' ({result.distance})' if result.distance else ''}"),)
        facts += tuple(("note", note) for note in result.notes)
    versions = ("versions", _versions_text(made_by.get("versions", {})) or _NOT_RECORDED)
    command, *others = _made_by_facts(made_by)
    return (*facts, ("hash of the films", result.data_hash), command, versions, *others)


def _made_by_facts(made_by: Mapping[str, Any]) -> Facts:
    return tuple((name, str(made_by.get(name) or _NOT_RECORDED)) for name in ("command", "date", "machine"))


def _recipe_text(split: Mapping[str, Any]) -> str:
    if "recipe" not in split:
        return ""
    told = [name for name in ("published", "smoke") if split.get(name)]
    return " ".join([str(split["recipe"]), *([f"({', '.join(told)})"] if told else [])])


def _encoder_text(card: Mapping[str, Any]) -> str:
    encoder, spec = card.get("encoder", {}), card.get("image_spec", {})
    crops = [f"{name.replace('_', ' ')} {spec[name]:g}" for name in ("top_crop", "border_crop") if spec.get(name)]
    return ", ".join([str(encoder.get("encoder", _NOT_RECORDED)), f"{spec.get('size_px', '?')} px", *crops])


def _weights_text(weights: Mapping[str, Any]) -> str:
    if not weights:
        return ""
    sets = weights.get("trained_on")
    seen = "" if sets is None else f"chest films it has seen: {', '.join(sets) or 'none'}"
    told = [str(weights.get("name", "")), *(f"{key} {weights[key]}" for key in ("licence", "access") if key in weights)]
    return "; ".join([*told, *([seen] if seen else [])])


def _joined(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{_words(name)} {settings[name]}" for name in names if settings.get(name) is not None)


def _words(name: str) -> str:
    return {"lr": "learning rate", "n_epochs": "epochs"}.get(name, name.replace("_", " "))


def _best_text(run: ShownRun) -> str:
    if run.card.get("best_epoch") is None:
        return ""
    n_epochs = f" of {len(run.history)}" if run.history else ""
    accuracy = run.card.get("val_accuracy")
    told = "" if accuracy is None else f", validation accuracy {100 * accuracy:.1f} %"
    return f"{run.card['best_epoch']}{n_epochs}{told}"


def _keep_text(card: Mapping[str, Any]) -> str:
    keep, accuracy = card.get("keep"), card.get("val_accuracy")
    if not keep:
        return ""
    told = "" if accuracy is None else f"; validation accuracy {100 * accuracy:.1f} %"
    return f"{keep['weight']:g} ({keep['how']}){told}"


def _versions_text(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
