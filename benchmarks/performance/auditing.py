"""How long `fscxr data audit` takes, beside libraries that look for some of what it does, and of films that look alike.

    python benchmarks/performance/auditing.py [--films 2000] [--size 512]

imagededup (perceptual hashes) covers copies; cleanvision covers copies, dark, light, blurry, odd and plain pictures.
The films that look alike are those of `fscxr demo`. Each is run once, in a process of its own, imports not counted.
"""

import tempfile
from pathlib import Path

from beside import Peer
from made_films import write_films
from question import Answer, Mark, seconds_in_turn, settings, tell

from fewshot_cxr.data import write_manifest
from fewshot_cxr.data.synthetic import make_synthetic

ALIKE, MOST_SECONDS, N_PATIENTS = "fscxr data audit, films of the demo that look alike", 20.0, 100

OURS = """
from pathlib import Path
from fewshot_cxr.data import read_dataset
from fewshot_cxr.evaluation import audit_films

def work():
    audit_films(read_dataset("manifest", Path(sys.argv[1])), progress=None)
"""
COPIES = """
from pathlib import Path
import numpy as np
from fewshot_cxr.data import read_dataset, read_gray
from fewshot_cxr.data.reading import read_all
from fewshot_cxr.evaluation.audit.near_duplicates import fingerprint, near_duplicates

def work():
    films = read_dataset("manifest", Path(sys.argv[1]))
    prints = list(read_all(lambda film: fingerprint(read_gray(films.file(film))), films.films))
    near_duplicates(*(np.stack(column) for column in zip(*prints)))
"""
IMAGEDEDUP = """
import logging, os
from imagededup.methods import PHash
logging.disable(logging.CRITICAL)

def work():
    PHash(verbose=False).find_duplicates(image_dir=sys.argv[2], num_enc_workers=os.cpu_count())
"""
CLEANVISION = """
import contextlib, io, os
from cleanvision import Imagelab

def work():
    with contextlib.redirect_stdout(io.StringIO()):
        Imagelab(data_path=sys.argv[2]).find_issues(n_jobs=os.cpu_count(), verbose=False)
"""
WAYS = {
    "fscxr data audit, everything": OURS,
    "fscxr, copies alone": COPIES,
    "imagededup PHash, copies alone": IMAGEDEDUP,
    "cleanvision, all its checks": CLEANVISION,
}


def main() -> None:
    parser = settings(__doc__)
    parser.add_argument("--films", type=int, default=2_000)
    parser.add_argument("--size", type=int, default=512, help="side of the films in pixels")
    arguments = parser.parse_args()
    n_patients = N_PATIENTS
    if arguments.smoke:
        arguments.films, arguments.size, n_patients = 24, 128, 1
    found: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        films = write_films(folder / "films", arguments.films, size_px=arguments.size)
        write_manifest(films, folder / "films.csv", header={"seed": 0})
        for name, code in WAYS.items():
            found[name] = once(code, folder / "films.csv", folder / "films")
        alike = make_synthetic(folder / "alike", n_patients=n_patients, seed=0, progress=None)
        write_manifest(alike, folder / "alike.csv", header={"seed": 0})
        found[ALIKE] = once(OURS, folder / "alike.csv", folder / "alike")
    rows = []
    for name, seconds in found.items():
        n_films = len(alike) if name == ALIKE else len(films)
        rows.append([name, f"{n_films:,}", *_told(seconds, n_films)])
    note = f"JPEG films of {arguments.size} px; the demo's are PNG of 192 px; measured once"
    heads = ["what", "films", "seconds", "films/s"]
    tell(Answer("Looking for what is wrong with films", heads, rows, _marks(found), note), arguments.json)


def once(code: str, *arguments: Path) -> float | None:
    """Return the seconds of one run; None where the peer is not installed."""
    home = str(Path(__file__).resolve().parents[2])
    way = Peer(f"sys.path.insert(0, {home!r})\n{code}", *arguments)
    seconds = seconds_in_turn({"": way}, 1, warm_up=0)[""][0] if way.is_there else None
    way.end()
    return seconds


def _told(seconds: float | None, n_films: int) -> list[str]:
    return ["not installed", ""] if seconds is None else [f"{seconds:.1f}", f"{n_films / seconds:,.0f}"]


def _marks(found: dict[str, float | None]) -> list[Mark]:
    whole, copies, dedup, clean, alike = found.values()
    assert whole is not None
    assert copies is not None
    assert alike is not None
    marks = [Mark("seconds of the films that look alike", alike, MOST_SECONDS, at_most=True)]
    if dedup is not None:
        marks.append(Mark("copies alone, time beside imagededup", copies / dedup, 1.0, at_most=True))
    if clean is not None:
        marks.append(Mark("everything, time beside cleanvision", whole / clean, 1.0, at_most=True))
    return marks


if __name__ == "__main__":
    main()
