"""What a split is called, in a column or as a folder: train, val and test under all their usual names."""

import re

from fewshot_cxr._visible import one_form

SPLITS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev", "development", "tune", "tuning"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout"),
}
_SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}


def plain(name: str) -> str:
    """Return a name without case, blanks, dashes, dots and underscores: "Patient ID" is "patientid"."""
    return "".join(mark for mark in one_form(name).casefold() if mark.isalnum())


def split_named(text: str) -> str | None:
    """Return train, val or test for a name that means it, such as Training, validate or "hold-out"; None for another.

    Args:
        text: in any case, with any blanks, dashes and underscores; "set", "split" and "data" may follow.
    """
    name = plain(text)
    return _SPLIT_OF.get(name) or _SPLIT_OF.get(re.sub(r"(set|split|data)$", "", name))
