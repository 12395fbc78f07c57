"""What a run folder holds, and how it was made."""

import datetime
import platform
from importlib.metadata import version
from typing import Any

from fewshot_cxr._kinds import (
    CARD,
    ENCODER_FILE,
    EPISODES,
    EXPECTED,
    HISTORY,
    PROVENANCE_FILE,
    RECIPE,
    RESULT,
    SPLIT,
    TRAINING_FILMS,
)

RUN_FILES = (PROVENANCE_FILE, CARD, HISTORY, TRAINING_FILMS, ENCODER_FILE, "logs")  # of any training
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
