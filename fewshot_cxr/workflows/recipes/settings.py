"""The keys of a recipe: which there are, what each takes, and how a value is laid over another."""

import inspect
import json
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from fewshot_cxr._checks import lookup, nearest
from fewshot_cxr.data import READERS, Augmentation
from fewshot_cxr.encoders import encoder_options
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer

TRAINERS: dict[str, type[SiameseTrainer] | type[ClassifierTrainer]] = {
    "siamese": SiameseTrainer,
    "classifier": ClassifierTrainer,
}
JUDGED_BY = {"siamese": "exemplars", "classifier": "classifier"}  # trainer -> what judges the test films
Sections = dict[str, dict[str, Any]]
# They have sections of their own, or are said by the run and not by the recipe.
_NOT_OF_THE_RECIPE = ("image_spec", "augmentation", "seed", "device", "cache_folder", "n_workers")
NONE = "none"
_ROUNDING = 1e-6
_WANTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "a table",
}
_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class FindingRules:
    """Which findings a recipe tells apart.

    Args:
        keep: the findings; none: all that the films show.
        rename: old name -> new, before all else.
        others: name of what shows none of `keep`, which then is a finding too; None: such films are left out.
        is_multi_label: a film may show several of them.
        without: of several, films that show none stay, as negatives.
        per_finding: at most so many films of each, sampled by seed; 0: all.
        looked_for: reader -> the findings that its set states; the others are neither present nor absent there.
        is_common: findings have the names of `data.COMMON_FINDINGS`, and any of the data sets may be left out.
    """

    keep: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    others: str | None = None
    is_multi_label: bool = False
    without: bool = True
    per_finding: _Count = 0
    looked_for: Mapping[str, Any] = field(default_factory=dict)
    is_common: bool = False


@dataclass(frozen=True, kw_only=True)
class SplitRules:
    """How films are divided, always by patient.

    Args:
        official: keep the split that the films state; validation is carved from train where they state none.
        fractions: train, val and test, of films that state no split.
        per_finding: films of each finding in val and in test, in place of `fractions`.
    """

    official: bool = True
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    per_finding: tuple[_Positive, ...] = ()

    def __post_init__(self) -> None:
        if len(self.per_finding) not in (0, 2):
            raise ValueError(
                f"split.per_finding must hold the films of each finding in val and in test, such as [60, 60], or "
                f"nothing, got {list(self.per_finding)}"
            )
        train, *others = self.fractions
        if not (train > 0 and all(share >= 0 for share in others) and abs(sum(self.fractions) - 1) <= _ROUNDING):
            raise ValueError(
                f"split.fractions must be train (above 0), val and test, 1 in all, got {list(self.fractions)}"
            )


@dataclass(frozen=True, kw_only=True)
class JudgeRules:
    """How the test films are evaluated, once.

    Args:
        by: "classifier", or "exemplars"; it follows from the trainer, and all else is of exemplars alone.
        rule: a name in RULES, with the distance of the training.
        k: of the rule knn.
        n_exemplars: training films of each finding, sampled by seed; 0: all.
        rank_tables: test films for which the exemplars are listed in the order of their distance.
        n_episodes: few-shot episodes on the test films; 0: none.
        n_way: findings in an episode.
        n_shot: labelled films of each.
    """

    by: str = "classifier"
    rule: str = "mean_distance"
    k: _Positive = 5
    n_exemplars: _Count = 0
    rank_tables: _Count = 3
    n_episodes: _Count = 1000
    n_way: Annotated[int, Field(ge=2)] = 3
    n_shot: _Positive = 5

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(JUDGED_BY.values()), self.by, what="judge.by")
        lookup(RULES, self.rule, what="judge.rule")


RULES_OF = {
    "findings": FindingRules,
    "split": SplitRules,
    "image": ImageSpec,
    "augmentation": Augmentation,
    "judge": JudgeRules,
}


class Keys:
    """The keys of one recipe, with the type that each takes."""

    def __init__(self, trainer: str) -> None:
        """Begin with the recipe's trainer, a name in TRAINERS."""
        self._hints: dict[str, Any] = {}
        for reader, read in READERS.items():
            signature = inspect.signature(read, eval_str=True)
            options = [item for item in signature.parameters.values() if item.kind is item.KEYWORD_ONLY]
            self._hints |= {f"read.{reader}.{item.name}": item.annotation for item in options}
        for section, kind in {**RULES_OF, "training": lookup(TRAINERS, trainer, what="trainer")}.items():
            hints = get_type_hints(kind, include_extras=True)
            names = [item.name for item in fields(kind) if item.name not in _NOT_OF_THE_RECIPE]
            self._hints |= {f"{section}.{name}": hints[name] for name in names}
        self._unused: list[str] = []
        if JUDGED_BY[trainer] != "exemplars":
            self._unused = [f"judge.{item.name}" for item in fields(JudgeRules) if item.name != "by"]
            self._hints = {key: hint for key, hint in self._hints.items() if key not in self._unused}

    def lay(self, sections: Sections, values: Mapping[str, Any]) -> Sections:
        """Return the sections with these values (key -> value) in place.

        Args:
            sections: as in a recipe's file.
            values: by dotted key, or by its last part where that is unique; "none" for None.

        Raises:
            ValueError: an unknown key (the nearest is named), one that several sections have or that plays no part with
                this trainer, or a list of another length.
            TypeError: a value of another type than its key takes.
        """
        laid = deepcopy(sections)
        for name, value in values.items():
            key = self._full_key(name, laid)
            *above, last = key.split(".")
            place: dict[str, Any] = laid
            for part in above:
                place = place.setdefault(part, {})
            hint = self._hints.get(key)
            place[last] = _typed(key, value, hint) if hint is not None else None if value == NONE else value
        return laid

    def _full_key(self, name: str, sections: Sections) -> str:
        tables = [(f"{section}.{key}", inner) for section, values in sections.items() for key, inner in values.items()]
        inside = [f"{key}.{entry}" for key, inner in tables if isinstance(inner, Mapping) for entry in inner]
        known = list(dict.fromkeys([*self._hints, *inside]))
        # An entry of a key that takes a table, such as training.encoder_options.width, may be new.
        if name in known or get_origin(self._hints.get(name.rpartition(".")[0])) in (dict, Mapping):
            return name
        found = [key for key in known if key.rpartition(".")[2] == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{name} is in several sections of the recipe: write {' or '.join(found)}")
        unused = [key for key in self._unused if name in (key, key.rpartition(".")[2])]
        if unused:
            raise ValueError(f"{unused[0]} plays no part here: a classifier judges without exemplars; leave it out")
        choices = known if "." in name else [key.rpartition(".")[2] for key in known]
        raise ValueError(
            f"unknown key {name!r} of the recipe{nearest(name, choices)}; `fscxr recipes show` prints its keys"
        )


def check_encoder_options(encoder: str, options: Mapping[str, Any]) -> None:
    """Refuse an option that the encoder does not take.

    Raises:
        ValueError: such an option (the nearest is named), or an unknown encoder.
    """
    known = encoder_options(encoder)
    for option in options:
        if option not in known:
            raise ValueError(
                f"training.encoder_options.{option}: {encoder} has no such option{nearest(option, known)}; it takes "
                f"{', '.join(known)}, and --set 'training.encoder_options={{}}' drops all that the recipe sets"
            )


def parse_setting(text: str) -> tuple[str, Any]:
    """Take `key=value` apart; the value is read as TOML, and as text where it is none (a bare word).

    Raises:
        ValueError: there is no "=".
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {text}: key=value was expected, such as --set training.n_epochs=5")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _typed(key: str, value: Any, hint: Any) -> Any:
    """Return a value as the type that its key takes."""
    is_optional = NoneType in get_args(hint)
    if is_optional and value == NONE:
        return None
    try:
        # JSON is as strict as TOML, and takes a whole number for a number and a list for a tuple.
        text = json.dumps(value, default=str)
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        found = error.errors()
    kind, place, got = found[0]["type"], found[0]["loc"], found[0]["input"]
    if kind in ("missing", "too_long"):
        raise ValueError(f"{key} must hold {len(get_args(hint))} values, got {value}")
    name = f"each of {key}" if place and isinstance(place[0], int) else key
    if kind == "greater_than_equal":
        raise ValueError(f"{name} must be at least {found[0]['ctx']['ge']}, got {got}")
    wanted = [_WANTED[error["type"]] for error in found if error["type"] in _WANTED]
    wanted += [NONE] if is_optional and name == key else []
    raise TypeError(f"{name} must be {' or '.join(wanted)}, got {got!r}")
