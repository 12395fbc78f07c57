"""Seconds and memory to read a made-up MIMIC-CXR-JPG of its real size: 377,110 films of 65,379 patients, a byte each.

    python benchmarks/large_reader.py [--patients 65379] [--folder FOLDER]

The files are made first, in a temporary folder, which takes minutes; `--folder` keeps them for another run. The reading
runs in a process of its own: its most memory, less that of a process that imports the reader and reads nothing.
"""

import argparse
import gzip
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

from fewshot_cxr.data.readers.chexpert_labels import FINDINGS

N_PATIENTS, N_STUDIES, N_FILMS = 65_379, 227_835, 377_110
HEADS = {
    "split": "dicom_id,study_id,subject_id,split",
    "metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate",
    "chexpert": ",".join(("subject_id", "study_id", *FINDINGS)),
}
READ = """
import resource, sys, time
from pathlib import Path
from fewshot_cxr.data.readers import read_dataset
folder, start = sys.argv[1], time.perf_counter()
if folder != "-":
    films = read_dataset("mimic_cxr_jpg", folder)
    print(len(films), films.n_rows, len({film.patient_id for film in films}), end=" ")
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def make(root: Path, n_patients: int) -> None:
    """Lay the films out, and write the tables; shares of views, splits and labels are as published, by seed 0."""
    draw, rows = np.random.default_rng(0), {name: [head] for name, head in HEADS.items()}
    n_studies, n_films = (round(n * n_patients / N_PATIENTS) for n in (N_STUDIES, N_FILMS))
    studies_of = np.bincount(draw.integers(n_patients, size=n_studies - n_patients), minlength=n_patients) + 1
    films_of = np.bincount(draw.integers(n_studies, size=n_films - n_studies), minlength=n_studies) + 1
    study = 0
    for patient in range(n_patients):
        subject = 10_000_000 + patient * 150
        split = ("train", "validate", "test")[np.searchsorted([0.985, 0.993], draw.random())]
        for _ in range(studies_of[patient]):
            number = 50_000_000 + study
            cells = draw.choice(["", "1.0", "0.0", "-1.0"], size=len(FINDINGS), p=[0.75, 0.15, 0.06, 0.04])
            rows["chexpert"].append(f"{subject},{number},{','.join(cells)}")
            folder = root / f"files/p{subject // 1_000_000}/p{subject}/s{number}"
            folder.mkdir(parents=True)
            for _ in range(films_of[study]):
                film = "-".join(f"{part:08x}" for part in draw.integers(2**32, size=5))
                view = draw.choice(["AP", "PA", "LATERAL", "LL", ""], p=[0.39, 0.255, 0.22, 0.093, 0.042])
                rows["split"].append(f"{film},{number},{subject},{split}")
                rows["metadata"].append(f"{film},{subject},{number},CHEST (PA AND LAT),{view},3056,2544,21800506")
                (folder / f"{film}.jpg").write_bytes(b"x")
            study += 1
    for name, lines in rows.items():
        with gzip.open(root / f"mimic-cxr-2.0.0-{name}.csv.gz", "wt", compresslevel=1) as table:
            table.writelines(f"{line}\n" for line in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=N_PATIENTS)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = arguments.folder or Path(name)
        if not (root / "files").is_dir():
            root.mkdir(parents=True, exist_ok=True)
            make(root, arguments.patients)
        print(f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, seed 0")
        answers = [
            subprocess.run([sys.executable, "-c", READ, folder], capture_output=True, text=True, check=True).stdout
            for folder in ("-", str(root), str(root))
        ]
        plain, *found = (text.split() for text in answers)
        for which, (n_films, n_rows, n_patients, seconds, megabytes) in zip(("first", "again"), found, strict=True):
            print(
                f"{which}: {int(n_rows):,} rows, {int(n_films):,} films of {int(n_patients):,} patients taken, "
                f"{float(seconds):.1f} s, {float(megabytes) - float(plain[1]):.0f} MB above the imports"
            )


if __name__ == "__main__":
    main()
