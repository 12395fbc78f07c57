"""How a bank decides, and by which encoder its vectors were made."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from fewshot_cxr._kinds import TRAINING_FILMS
from fewshot_cxr.data.film_digests import read_training_films
from fewshot_cxr.encoders import (
    ENCODER_FILE,
    Encoder,
    build_encoder,
    deciding_options,
    encoder_hash,
    is_built_in,
    load_encoder,
)
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank.calibrating import EXCHANGEABLE
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable
from fewshot_cxr.inference.deciding import learned_options

_MOST_TRIED = 30  # encoders that lie beside a bank


@dataclass(frozen=True, eq=False)
class BankTerms:
    """How a bank decides, and by which encoder its vectors were made.

    Args:
        encoder: "sha256" of its weights, "recipe", "image_spec", "card", and "run", the name of its folder, if any.
        rule: a name in RULES.
        distance: a name in DISTANCES.
        options: of the rule: plain values, and "weights", a tensor, of a learned distance.
        choice: how exemplars are chosen, a name in CHOICES.
        trained_on: digests of the films that the encoder was trained on.
        places: folders where its file lay, in which the encoder is looked for; they stand in no file.
    """

    encoder: Mapping[str, Any]
    rule: str = "mean_distance"
    distance: str = "euclidean"
    options: Mapping[str, Any] = field(default_factory=dict)
    choice: str = "all"
    trained_on: frozenset[str] = frozenset()
    places: tuple[Path, ...] = ()

    @property
    def image_spec(self) -> ImageSpec:
        """What the encoder's images are."""
        return ImageSpec.from_json(dict(self.encoder["image_spec"]))

    @property
    def encoder_name(self) -> str:
        """The encoder, in words: whose weights, else its kind."""
        weights: Mapping[str, Any] = self.encoder["card"].get("weights", {})
        return str(weights.get("name") or self.encoder["recipe"]["encoder"])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; a tensor among the options is left out."""
        return {
            "encoder": dict(self.encoder),
            "rule": self.rule,
            "distance": self.distance,
            "options": {name: value for name, value in self.options.items() if not isinstance(value, torch.Tensor)},
            "choice": self.choice,
            "trained_on": sorted(self.trained_on),
        }

    def check(self, encoder: Encoder) -> Encoder:
        """Return an encoder if it is the bank's own.

        Raises:
            ValueError: it is another.
        """
        given = {"sha256": encoder_hash(encoder), "recipe": encoder.recipe, "image_spec": encoder.image_spec.to_json()}
        if other := _difference(self.encoder, given):
            raise ValueError(
                f"the bank was made by {self.encoder_name} with {other[0]}, this encoder has {other[1]}: "
                "its vectors cannot be compared; name the bank's own (--checkpoint), or build anew"
            )
        return encoder

    def encoder_near(self, place: Path) -> Encoder | None:
        """Return the encoder if it lies in a folder, or in one of the run folders there, the one of its name first."""
        files = [*place.glob(f"*/{ENCODER_FILE}"), *place.glob(ENCODER_FILE)]
        for file in sorted(files, key=lambda file: (file.parent.name != self.encoder["run"], file))[:_MOST_TRIED]:
            try:
                return self.check(load_encoder(file))
            except (OSError, ValueError):
                continue
        return None

    def features_are_frozen(self, films: ExemplarTable) -> bool:
        """Whether the pooled features of these films were not trained on them: the film or the layers were not."""
        is_kept = "keep" in self.encoder["card"] or self.encoder["card"].get("training", {}).get("freeze") == "backbone"
        return is_kept or not self.trained_on & set(films.digests)

    def refuse_trained(self, films: ExemplarTable, what: str) -> None:
        """Refuse films that the encoder was trained on, which are nearer than films to come.

        Args:
            films: to calibrate on.
            what: they are, in words.

        Raises:
            ValueError: there are some; one is named.
        """
        known = [name for name, digest in zip(films.films, films.digests, strict=True) if digest in self.trained_on]
        if known:
            raise ValueError(
                f"the encoder was trained on {len(known):,} of the {len(films):,} {what}, such as {known[0]}, so that "
                "they are nearer than films to come: calibrate on films kept apart"
            )


def terms_of(
    encoder: Encoder | str | Path, *, rule: str | None, distance: str | None, options: Mapping[str, Any] | None
) -> tuple[Encoder, BankTerms]:
    """Return an encoder, loaded if it is a run folder, and the terms of a bank that is made by it.

    Args:
        encoder: or its run folder, or its file.
        rule: a name in RULES; None: what the encoder was made for, else mean_distance.
        distance: a name in DISTANCES; None: as in training, else cosine.
        options: of the rule.

    Raises:
        ValueError: the weights are random.
    """
    place = None if isinstance(encoder, Encoder) else Path(encoder)
    loaded = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
    card = loaded.card | ({"weights": loaded.origin} if loaded.origin else {})
    if not card.get("weights") and not card.get("findings"):
        raise ValueError(
            f"the weights of {loaded.recipe.get('encoder', 'the encoder')} are random, and random distances tell "
            "nothing: take published weights (--pretrained, --weights) or a trained run (--checkpoint)"
        )
    rule = rule or card.get("rule", "mean_distance")
    learned = {} if place is None else learned_options(rule, loaded, place)
    facts = {"sha256": encoder_hash(loaded), "recipe": loaded.recipe, "image_spec": loaded.image_spec.to_json()}
    facts |= {"card": card, "run": "" if place is None else _folder(place).name}
    listed = None if place is None else _folder(place) / TRAINING_FILMS
    return loaded, BankTerms(
        encoder=facts,
        rule=rule,
        distance=distance or card.get("distance", "cosine"),
        options={**(options or {}), **learned},
        trained_on=frozenset(read_training_films(listed) if listed is not None and listed.is_file() else ()),
    )


def merged_terms(first: BankTerms, second: BankTerms) -> BankTerms:
    """Return the terms of two banks together.

    Raises:
        ValueError: they have other encoders, rules, distances or options.
    """
    own, theirs = first.to_json(), second.to_json()
    if other := _difference(own["encoder"], theirs["encoder"]):
        names = f"{first.encoder_name} with {other[0]} and {second.encoder_name} with {other[1]}"
        raise ValueError(f"the banks were made by two encoders, {names}")
    for name in ("rule", "distance", "options"):
        if own[name] != theirs[name]:
            raise ValueError(f"the banks have two kinds of {name}, {own[name]} and {theirs[name]}: build one anew")
    # Of two ways to choose exemplars the one that allows less.
    choice = min(own["choice"], theirs["choice"], key=lambda name: (name in EXCHANGEABLE, name))
    encoder = min((own["encoder"], theirs["encoder"]), key=lambda facts: json.dumps(facts, sort_keys=True))
    trained_on, places = first.trained_on | second.trained_on, (*first.places, *second.places)
    return replace(first, encoder=encoder, choice=choice, trained_on=trained_on, places=places)


def given_encoder(
    terms: BankTerms, encoder: Encoder | str | Path | None, *, weights: str | Path | None = None
) -> Encoder | None:
    """Return the encoder of a bank as it was named; None: nobody named it.

    Args:
        terms: of the bank.
        encoder: or its run folder, or its file.
        weights: the file that a published encoder started from.

    Raises:
        ValueError: it is another.
    """
    if encoder is not None:
        return terms.check(load_encoder(encoder) if isinstance(encoder, (str, Path)) else encoder)
    return None if weights is None else find_encoder(terms, weights=weights)


def find_encoder(terms: BankTerms, *, weights: str | Path | None = None) -> Encoder:
    """Return the encoder of a bank, known by its hash: one beside its file, or here, or from where it is published.

    Args:
        terms: of the bank.
        weights: the file that a published encoder started from.

    Raises:
        FileNotFoundError: it is nowhere.
        ValueError: what `weights` makes is another.
    """
    recipe = terms.encoder["recipe"]
    options = {name: value for name, value in recipe["options"].items() if name != "weights"}
    if weights is not None:
        return terms.check(build_encoder(recipe["encoder"], image_spec=terms.image_spec, weights=weights, **options))
    for place in dict.fromkeys((*terms.places, Path.cwd())):
        if (near := terms.encoder_near(place)) is not None:
            return near
    if options.get("pretrained") and is_built_in(recipe["encoder"]):
        found = build_encoder(recipe["encoder"], image_spec=terms.image_spec, **options)
        if encoder_hash(found) == terms.encoder["sha256"]:
            return found
    raise FileNotFoundError(
        f"the encoder of the bank ({terms.encoder_name}, weights {terms.encoder['sha256'][:12]}) is not beside it: "
        "name its run folder (--checkpoint) or its file of weights (--weights), or build the bank --self-contained"
    )


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what two encoders differ in, of each in words; None: they give the same vectors."""
    if one["sha256"] != other["sha256"]:
        return f"weights {one['sha256'][:12]}", f"{other['sha256'][:12]}"
    both = [
        {**deciding_options(facts["recipe"]), **asdict(ImageSpec.from_json(dict(facts["image_spec"])))}
        for facts in (one, other)
    ]
    for name in sorted(both[0].keys() & both[1].keys()):  # a later version may have more of them
        if both[0][name] != both[1][name]:
            return f"{name} {both[0][name]}", f"{both[1][name]}"
    return None


def _folder(place: Path) -> Path:
    return place if place.is_dir() else place.parent
