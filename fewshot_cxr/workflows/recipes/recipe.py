"""A recipe: one published system as a small file of settings, corrected, with the published values beside."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from fewshot_cxr._checks import lookup
from fewshot_cxr.data import Augmentation
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer
from fewshot_cxr.workflows.recipes import settings
from fewshot_cxr.workflows.recipes.expectation import Published

_SECTIONS = ("read", "findings", "split", "image", "augmentation", "training", "judge")
_HEAD = ("title", "system", "paper", "reported", "data")
_OFF = Augmentation(rotation_degrees=0, shift=0, zoom=(1, 1), flip=0, gamma=(1, 1))
_SMOKE_PX, _SMOKE_FILMS, _SMOKE_EPISODES = 64, 12, 20


@dataclass(frozen=True)
class Recipe:
    """One system: what it is, and every setting of a run.

    `data` names the readers that it wants. `reported` says what was published, `expected` what a run is compared with.
    `start_from` names the recipe whose run it may start from. `sections` hold the settings, `published` those of the
    paper, by dotted key; `given` are the keys that the caller set.
    """

    name: str
    title: str
    system: int
    paper: str
    reported: str
    data: tuple[str, ...]
    trainer: str
    start_from: str | None
    sections: settings.Sections
    published: dict[str, Any]
    text: str
    expected: Published | None = None
    given: frozenset[str] = field(default=frozenset())

    @property
    def findings(self) -> settings.FindingRules:
        """The findings that are told apart."""
        return settings.FindingRules(**self.sections.get("findings", {}))

    @property
    def split(self) -> settings.SplitRules:
        """How films are divided."""
        return settings.SplitRules(**self.sections.get("split", {}))

    @property
    def judge(self) -> settings.JudgeRules:
        """How the test films are judged."""
        return settings.JudgeRules(**{"by": settings.JUDGED_BY[self.trainer], **self.sections.get("judge", {})})

    @property
    def image_spec(self) -> ImageSpec:
        """What the encoder sees."""
        return ImageSpec(**self.sections.get("image", {}))

    @property
    def augmentation(self) -> Augmentation | None:
        """What is done to training films; None: nothing. What the recipe does not name is off."""
        chosen = Augmentation(**{**asdict(_OFF), **self.sections.get("augmentation", {})})
        return None if chosen == _OFF else chosen

    def is_given(self, name: str) -> bool:
        """Return whether the caller set a key, by its last part."""
        return any(key.rpartition(".")[2] == name for key in self.given)

    def reading(self, reader: str) -> dict[str, Any]:
        """Return the options of a reader."""
        options: dict[str, Any] = self.sections.get("read", {}).get(reader, {})
        return options

    def make_trainer(self, **more: Any) -> SiameseTrainer | ClassifierTrainer:
        """Return the trainer; `more` are seed, device and other fields that no recipe sets."""
        fields = {"image_spec": self.image_spec, "augmentation": self.augmentation, **self.sections["training"]}
        return settings.TRAINERS[self.trainer](**{**fields, **more})

    def with_settings(self, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with these values (dotted key, or its unique last part -> value).

        Raises:
            ValueError: an unknown key, one that several sections have or that plays no part with this trainer, or a
                value that its section refuses.
            TypeError: a value of another type than its key takes.
        """
        sections = settings.Keys(self.trainer).lay(self.sections, values)
        recipe = replace(self, sections=sections, given=self.given | set(values))
        recipe._check()
        return recipe

    def as_published(self) -> "Recipe":
        """Return the recipe with the published settings laid over it."""
        return replace(self.with_settings(self.published), given=self.given)

    def for_smoke(self, *, published: bool) -> "Recipe":
        """Return the recipe as a trial that ends within a minute.

        Two steps of few films at the recipe's own size where the settings are the published ones, one epoch at 64 px
        otherwise; in neither case are weights downloaded.
        """
        training = self.sections["training"]
        values: dict[str, Any] = {"training.n_epochs": 1, "split.per_finding": [], "findings.per_finding": 0}
        if self.trainer == "siamese":
            values |= {"judge.n_episodes": _SMOKE_EPISODES, "judge.rank_tables": 1}
            values["training.val_n_episodes"] = _SMOKE_EPISODES
        if training.get("encoder_options", {}).get("pretrained"):
            values["training.encoder_options.pretrained"] = False
        if published:
            values |= {"training.n_batches": 2, "training.batch_size": min(training["batch_size"], _SMOKE_FILMS)}
        else:
            values["image.size_px"] = _SMOKE_PX
        return replace(self.with_settings(values), given=self.given)

    def to_toml(self) -> str:
        """Return the settings as they are now, in the form of a recipe's file, without the published ones."""
        lines = [f"{name} = {_toml(getattr(self, name))}" for name in _HEAD]
        lines += [f"start_from = {_toml(self.start_from)}"] if self.start_from else []
        for section in _SECTIONS:
            values = self.sections.get(section, {})
            inner = {f"{section}.{name}": value for name, value in values.items() if isinstance(value, dict)}
            plain = {name: value for name, value in values.items() if not isinstance(value, dict)}
            plain = {"trainer": self.trainer, **plain} if section == "training" else plain
            for title, table in (({section: plain} if plain else {}) | inner).items():
                lines += ["", f"[{title}]", *(f"{name} = {_toml(value)}" for name, value in table.items())]
        return "\n".join((*lines, ""))

    def _check(self) -> None:
        """Refuse, before any film is read, what would stop the run or be passed over in silence."""
        trainer = self.make_trainer()
        settings.check_encoder_options(str(trainer.encoder), trainer.encoder_options)
        checked = self.findings, self.split, self.judge
        by, own = checked[-1].by, settings.JUDGED_BY[self.trainer]
        if by != own:
            raise ValueError(f"judge.by is {own!r} in a {self.trainer} recipe, got {by!r}; leave the key out")


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, by system."""
    found = [(load_recipe(name).system, name) for name in _names()]
    return tuple(name for _, name in sorted(found))


def load_recipe(name: str) -> Recipe:
    """Read a recipe of the package.

    Raises:
        ValueError: there is no such recipe (the nearest is named).
    """
    lookup(dict.fromkeys(_names()), name, what="recipe")
    return parse_recipe(name, (files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))


def parse_recipe(name: str, text: str) -> Recipe:
    """Read a recipe from the text of its file; every key, the published ones too, is one that there is.

    Raises:
        ValueError: no TOML, a head line that is missing, or an unknown key.
        TypeError: a value of another type than its key takes.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {name} is no TOML: {error}") from error
    missing = [key for key in (*_HEAD, "training", "judge") if key not in table]
    if missing:
        raise ValueError(f"recipe {name} lacks {', '.join(missing)}; every recipe says them")
    published, start_from = table.pop("published", {}), table.pop("start_from", None)
    expected = table.pop("expected", None)
    head = {key: table.pop(key) for key in _HEAD}
    trainer = table["training"].pop("trainer", "siamese")
    recipe = Recipe(
        **{**head, "data": tuple(head["data"])},
        name=name,
        trainer=trainer,
        start_from=start_from,
        sections={},
        published=published,
        text=text,
        expected=None if expected is None else Published(**expected),
    )
    recipe = replace(recipe.with_settings(_flat(table)), given=frozenset())
    recipe.as_published()
    return recipe


def _names() -> tuple[str, ...]:
    found = (Path(item.name) for item in files(__package__).iterdir())
    return tuple(sorted(item.stem for item in found if item.suffix == ".toml"))


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by dotted key; readers are a level of their own."""
    flat: dict[str, Any] = {}
    for section, values in table.items():
        for name, value in values.items():
            inner = value if section == "read" else {"": value}
            flat |= {".".join(filter(None, (section, name, option))): found for option, found in inner.items()}
    return flat


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(settings.NONE if value is None else value, ensure_ascii=False)
