"""Tries an installed package as its user: each file of the checkout is in it, and its commands answer a film.

python .ci/try_wheel.py CHECKOUT, by the Python of the environment that the wheel was installed into.
"""

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import fewshot_cxr
from fewshot_cxr.data import write_manifest
from fewshot_cxr.data.synthetic import make_synthetic


def main(checkout: Path) -> None:
    """Look for each file, then ask the commands."""
    package = Path(fewshot_cxr.__file__).parent
    assert package != checkout / "fewshot_cxr", "this is the checkout, not what was installed"
    listed = subprocess.run(
        ["git", "-C", str(checkout), "ls-files", "fewshot_cxr"], capture_output=True, text=True, check=True
    )
    wanted = {name.partition("/")[2] for name in listed.stdout.splitlines()}
    lacking = sorted(name for name in wanted if not (package / name).is_file())
    assert not lacking, f"the wheel lacks {', '.join(lacking)}"
    assert (package / "py.typed").is_file()
    extras = metadata.metadata("fewshot_cxr").get_all("Provides-Extra", [])
    command = Path(sys.executable).with_name("fscxr")
    with tempfile.TemporaryDirectory() as folder:
        films = make_synthetic(Path(folder) / "films", n_patients=6, findings=("normal", "effusion"), seed=0)
        write_manifest(films, Path(folder) / "films.csv")
        film = str(films.file(films[0]))
        for line in (
            "--version",
            "recipes list",
            "encoder make efficientnet_lite0 --pretrained --image-size 64 --out lite0",
            f"predict {film} --checkpoint lite0 --support films.csv --n-exemplars 3",
            "episode-eval --checkpoint lite0 --data films.csv --n-way 2 --n-shot 1 --n-query 2 --json result.json",
            "report lite0 result.json --checklist claim --out report.html",
        ):
            subprocess.run([command, *line.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    print(f"installed: {len(wanted)} files, extras {', '.join(extras)}; its commands answer")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
