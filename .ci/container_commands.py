"""Run the commands of the Dockerfile that make its Python environment, without Docker: in a folder, as whoever calls.

python .ci/container_commands.py FOLDER    (minutes, and some gigabytes with the torch of PyPI)
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("fewshot_cxr", "LICENSE", "README.md", "pyproject.toml", "setup.cfg")  # as .dockerignore says
PLACES = ("/src", "/wheels", "/opt/fscxr")
TRIED = (("--version",), ("serve", "--help"), ("listen", "--help"), ("predict", "--help"))


def commands(dockerfile: str) -> list[str]:
    """Return the commands of its RUN lines that make the environment, continued lines joined."""
    lines = dockerfile.replace("\\\n", " ").splitlines()
    found = [line.removeprefix("RUN ").strip() for line in lines if line.startswith("RUN ")]
    return [line for line in found if "pip" in line or "venv" in line]


def run(folder: Path) -> None:
    """Run them, with the places of the image below a folder, and try what they have installed."""
    source = folder / "src"
    shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    bare = folder / "python"  # of the base image: nothing but pip
    subprocess.run([sys.executable, "-m", "venv", bare], check=True)
    own = {
        "PATH": f"{bare / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "TORCH_INDEX": os.environ.get("TORCH_INDEX", ""),
    }
    environment = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))} | own
    for command in commands((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        for place in PLACES:
            command = re.sub(rf"(?<![\w/]){place}(?=[/\s]|$)", str(folder) + place, command)
        print("+", command, flush=True)
        subprocess.run(["bash", "-o", "pipefail", "-euc", command], cwd=source, env=environment, check=True)
    for words in TRIED:
        print("+ fscxr", *words, flush=True)
        subprocess.run(
            [folder / "opt/fscxr/bin/fscxr", *words], cwd="/", env=environment, check=True, stdout=subprocess.DEVNULL
        )
    print("the environment of the image was made, and its commands start")


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
