"""How a result or a run was made: what a reader needs to do it again."""

import datetime
import platform
from importlib.metadata import version
from typing import Any

PROVENANCE_FILE = "made_by.json"  # of a run folder
_LIBRARIES = ("fewshot_cxr", "torch", "numpy", "scikit-learn")


def provenance(command: str) -> dict[str, Any]:
    """Return the command, and the versions, date and machine of now."""
    return {
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
