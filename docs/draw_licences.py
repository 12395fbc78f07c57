"""Write docs/licences.md: whatever the package and its extras bring along, with the licence that each states.

    python docs/draw_licences.py

Reads what is installed beside it, from the packages' own metadata; of an extra that is not installed nothing is known.
"""

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PACKAGE, PAGE = "fewshot_cxr", Path(__file__).parent / "licences.md"
SHIPPED = ("clahe", "xrv", "lite0", "serve", "listen", "ray", "umap", "onnx")  # extras of users
HEAD = """# Licences of what comes along

fewshot_cxr is under Apache-2.0. What `pip install` brings along states these licences in its own metadata; the table is
written by `python docs/draw_licences.py` from what is installed, the packages of extras with their extra.

- **pylibjpeg-libjpeg is under the GPL, version 3.** It is the one package here that is. Whoever uses the library, in a
  hospital too, need not care. Whoever *ships* it to others as a whole (a container, an appliance, an installer) passes
  on a GPL program together with it, and owes the receivers that package's source and the GPL's terms for the whole as
  far as it counts as one work with it. This is no legal advice.
- **Without it:** `pip uninstall pylibjpeg-libjpeg` in what you ship. Every other transfer syntax is read as before; a
  film in lossless JPEG, or in extended JPEG of 12 bits, is named as one without a decoder (a test holds both).
- Licences of weights and of data sets are another matter: [encoders.md](encoders.md), [datasets.md](datasets.md).

| package | licence | comes with |
| --- | --- | --- |
"""
# Whole texts in place of a name, and names in place of SPDX's.
SHORT = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
}


def needed(name: str, extras: frozenset[str] = frozenset()) -> Iterator[str]:
    """Name what a distribution requires on this machine, with these extras."""
    for line in metadata.distribution(name).requires or ():
        wanted = Requirement(line)
        marked = [{"extra": extra} for extra in (*extras, "")]
        if wanted.marker is None or any(wanted.marker.evaluate(values) for values in marked):
            yield wanted.name


def closure(names: list[str]) -> set[str]:
    """Name these distributions and all that they require, as far as they are installed."""
    found: set[str] = set()
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name not in found and is_installed(name):
            found.add(name)
            names += needed(name)
    return found


def is_installed(name: str) -> bool:
    """Say whether a distribution is there."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def licence(name: str) -> str:
    """Give the licence that a distribution states: its expression, else its classifiers, else its short text."""
    if not is_installed(name):
        return "not looked up: not installed where this page was written"
    about = metadata.metadata(name)
    if stated := about.get("License-Expression"):
        return stated
    classified = [
        value.rpartition(" :: ")[2] for value in about.get_all("Classifier", []) if value.startswith("License ::")
    ]
    if classified := [SHORT.get(value, value) for value in classified if value != "OSI Approved"]:
        return " or ".join(classified)
    text = (about.get("License") or "").strip().splitlines()
    named = text[0].strip("# ") if text else "UNKNOWN"
    return named if named != "UNKNOWN" and len(named) < 60 else "states none by name"


def rows() -> list[tuple[str, str, str]]:
    """Return package, licence and what brings it along."""
    always = closure(list(needed(PACKAGE)))
    brought: dict[str, list[str]] = {}
    for extra in SHIPPED:
        own = {name.lower() for name in set(needed(PACKAGE, frozenset({extra}))) - set(needed(PACKAGE))}
        for name in (closure(list(own)) | own) - always:
            brought.setdefault(name, []).append(f"[{extra}]")
    table = [(name, licence(name), "always") for name in sorted(always)]
    return table + [(name, licence(name), ", ".join(brought[name])) for name in sorted(brought)]


def main() -> None:
    """Write the page, but for NVIDIA's libraries, which only torch's CUDA wheels bring."""
    table = [row for row in rows() if not row[0].startswith(("nvidia-", "triton", "cuda-"))]
    lines = [f"| {name} | {stated.replace('|', '/')} | {whence} |" for name, stated, whence in table]
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(table)} packages: {PAGE.name}\n")


if __name__ == "__main__":
    main()
