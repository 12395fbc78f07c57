"""What the files of a run folder are called, and how they were made."""

import datetime
import platform
from importlib.metadata import version
from typing import Any

from fewshot_cxr._kinds import ENCODER_FILE

PROVENANCE_FILE = "made_by.json"  # of a run folder
CARD, HISTORY, LAST, SPLIT, RESULT = "card.json", "history.csv", "last.ckpt", "split.csv", "result.json"
EPISODES, RECIPE, EXPECTED = "episodes.json", "recipe.toml", "expected.json"
RUN_FILES = (PROVENANCE_FILE, CARD, HISTORY, "training_films.json", ENCODER_FILE, "logs")  # of any training
RECIPE_FILES = (SPLIT, RESULT, EPISODES, RECIPE, EXPECTED, "tables", "figures")  # and of a recipe's
_LIBRARIES = ("fewshot_cxr", "torch", "numpy", "scikit-learn")


def provenance(command: str) -> dict[str, Any]:
    """Return the command, and the versions, date and machine of now."""
    return {
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
