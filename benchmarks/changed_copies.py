"""Where changed copies of films end: among the near duplicates, among the possible ones, or nowhere.

    FSCXR_DATA=/folder/of/films python benchmarks/changed_copies.py [--films 60]

Every 19th film of cxr3 (synthetic ones where FSCXR_DATA names none), so many, and one changed copy of each at a time.
CLAHE needs the extra `clahe`.
"""

import argparse
import io
import os
import platform
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from fewshot_cxr.data import read_dataset, read_gray
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import audit_films
from fewshot_cxr.records import Record, Records

EVERY = 19


def as_jpeg(gray: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def mapped(gray: np.ndarray, values: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.clip(np.round(255 * values(gray / 255)), 0, 255).astype(np.uint8)


def half_size(gray: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(gray).resize((gray.shape[1] // 2, gray.shape[0] // 2), Image.Resampling.BICUBIC))


def cropped(gray: np.ndarray, share: float) -> np.ndarray:
    rows, columns = (max(1, round(share * side)) for side in gray.shape)
    return gray[rows:-rows, columns:-columns]


def clahe(gray: np.ndarray, clip_limit: float) -> np.ndarray:
    return np.asarray(cv2.createCLAHE(clip_limit, (8, 8)).apply(np.ascontiguousarray(gray)))


def bordered(gray: np.ndarray, share: float) -> np.ndarray:
    return np.pad(gray, [[max(1, round(share * side))] * 2 for side in gray.shape])


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half the size": half_size,
    "JPEG, quality 40": lambda gray: as_jpeg(gray, 40),
    "gamma 0.7": lambda gray: mapped(gray, lambda values: values**0.7),
    "gamma 1.4": lambda gray: mapped(gray, lambda values: values**1.4),
    "contrast 1.3": lambda gray: mapped(gray, lambda values: 0.5 + 1.3 * (values - 0.5)),
    "gamma 2.5": lambda gray: mapped(gray, lambda values: values**2.5),
    "contrast 2": lambda gray: mapped(gray, lambda values: 0.5 + 2 * (values - 0.5)),
    "equalised": lambda gray: np.asarray(ImageOps.equalize(Image.fromarray(gray))),
    "equalised, cropped 2 %": lambda gray: np.asarray(ImageOps.equalize(Image.fromarray(cropped(gray, 0.02)))),
    "CLAHE, clip limit 2": lambda gray: clahe(gray, 2),
    "CLAHE, clip limit 4": lambda gray: clahe(gray, 4),
    "15 % brighter": lambda gray: mapped(gray, lambda values: 1.15 * values),
    "cropped by 1 %": lambda gray: cropped(gray, 0.01),
    "cropped by 2 %": lambda gray: cropped(gray, 0.02),
    "cropped by 3 %": lambda gray: cropped(gray, 0.03),
    "cropped by 5 %": lambda gray: cropped(gray, 0.05),
    "border of 2 %": lambda gray: bordered(gray, 0.02),
    "border of 5 %": lambda gray: bordered(gray, 0.05),
    "negative": lambda gray: 255 - gray,
    "turned over": lambda gray: gray[:, ::-1],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        origin, films = some_films(Path(folder), arguments.films)
        print(f"{date.today()}, {platform.machine()}, {len(films)} {origin} films")
        print(f"{'change':23s} {'near':>6s} {'possible':>9s} {'nowhere':>8s}")
        for change, make in CHANGES.items():
            ends = Counter(where_they_end(Path(folder) / "copies", films, make))
            print(f"{change:23s} {ends['near']:6d} {ends['possible']:9d} {ends['nowhere']:8d}", flush=True)


def some_films(folder: Path, n_films: int) -> tuple[str, list[np.ndarray]]:
    root = os.environ.get("FSCXR_DATA")
    records = read_dataset("manifest", Path(root) / "cxr3" / "metadata.csv") if root else make_synthetic(folder)
    chosen = records[::EVERY][:n_films] if root else records[:n_films]
    return "real" if root else "synthetic", [read_gray(records.file(film)) for film in chosen]


def where_they_end(folder: Path, films: list[np.ndarray], make: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    folder.mkdir(exist_ok=True)
    records = []
    for number, gray in enumerate(films):
        for name, pixels in ((f"{number}.png", gray), (f"{number}_copy.png", make(gray))):
            Image.fromarray(pixels).save(folder / name)
            records.append(Record(name, ("x",)))
    audit = audit_films(Records(tuple(records), folder))
    near = {frozenset((pair.a, pair.b)) for pair in audit.near_duplicates}
    possible = {frozenset((pair.a, pair.b)) for pair in audit.possible_duplicates}
    own = [frozenset((f"{number}.png", f"{number}_copy.png")) for number in range(len(films))]
    return ["near" if pair in near else "possible" if pair in possible else "nowhere" for pair in own]


if __name__ == "__main__":
    main()
