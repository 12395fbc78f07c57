"""How long JPEG, PNG and DICOM films take from the file to the small square that is cached, beside other readers.

    python benchmarks/performance/decoding.py [--size 2048] [--films 8]

All on one thread; a reader is safe if it refuses a film whose data is cut short, with and without an end marker.
"""

import argparse
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torchvision
from beside import Peer
from made_films import write_films
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import apply_voi_lut
from question import Answer, Mark, ratio, seconds_in_turn, settings, tell
from torchvision.transforms.v2 import functional

from fewshot_cxr import ImageSpec
from fewshot_cxr.data import cache_films, decode_film, to_square
from fewshot_cxr.records import Records

OURS, SIDE, N_REPEATS = "fewshot_cxr", 224, 7
REFUSED = 3  # as the end of a process
Reader = Callable[[Path], object]


def ours(file: Path, spec: ImageSpec) -> np.ndarray:
    return to_square(decode_film(file).gray, spec)


def pillow(file: Path, shrink: int = 1) -> np.ndarray:
    with Image.open(file) as picture:
        size, box = picture.size, None
        if shrink > 1:
            picture.draft("L", (size[0] // shrink, size[1] // shrink))
            box = (0, 0, size[0] / shrink, size[1] / shrink)
        return np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, box))


def by_torchvision(file: Path) -> torch.Tensor:
    gray = torchvision.io.decode_image(torchvision.io.read_file(str(file)), torchvision.io.ImageReadMode.GRAY)
    return functional.resize(gray, [SIDE, SIDE], antialias=True)


def plain_pydicom(file: Path) -> np.ndarray:
    header = dcmread(file)
    shown = apply_voi_lut(header.pixel_array, header)
    gray = (shown * (255 / (2**header.BitsStored - 1))).astype(np.uint8)
    return np.asarray(Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


SIMPLEJPEG = f"""
import numpy as np
from pathlib import Path
from PIL import Image
from simplejpeg import decode_jpeg

def work():
    for file in sys.argv[1:]:
        gray = decode_jpeg(Path(file).read_bytes(), "GRAY")[..., 0]
        Image.fromarray(gray).resize(({SIDE}, {SIDE}), Image.Resampling.BILINEAR)
"""
READERS: dict[str, dict[str, Reader]] = {
    "jpeg": {"Pillow": pillow, "torchvision.io": by_torchvision, "Pillow, draft 1/2": partial(pillow, shrink=2)},
    "png": {"Pillow": pillow, "torchvision.io": by_torchvision},
    "dicom": {"plain pydicom": plain_pydicom},
}


def cut_short(content: bytes, kind: str) -> Iterator[bytes]:
    """Give a film of which half is lost: cut, and where a reader could tell with zeros or an end marker behind."""
    half = content[: len(content) // 2]
    yield half
    if kind != "dicom":  # unpacked pixels may well be zeros
        yield half + (b"\xff\xd9" if kind == "jpeg" else bytes(len(content) - len(half)))


def refuses(read: Reader, content: bytes, kind: str, place: Path) -> str:
    """Say whether a reader refuses a damaged film: yes, no, or that the process ended, in one of its own."""
    ends = set()
    for damaged in cut_short(content, kind):
        place.write_bytes(damaged)
        process = get_context("fork").Process(target=tried, args=(read, place))
        process.start()
        process.join()
        ends.add(process.exitcode)
    return "yes" if ends == {REFUSED} else "no" if ends <= {0, REFUSED} else "ends the process"


def tried(read: Reader, file: Path) -> None:
    try:
        read(file)
    except Exception:  # each library has its own
        os._exit(REFUSED)
    os._exit(0)


def all_of(read: Reader, files: list[Path]) -> None:
    for file in files:
        read(file)


def measure(kind: str, folder: Path, arguments: argparse.Namespace) -> tuple[list[list[str]], list[Mark]]:
    """Return the rows of one kind of file, and its mark."""
    records = write_films(folder / kind, arguments.films, kind=kind, size_px=arguments.size)
    files = [records.file(film) for film in records]
    readers = {OURS: partial(ours, spec=ImageSpec(size_px=SIDE))} | READERS[kind]
    works: dict[str, Callable[[], object]] = {name: partial(all_of, read, files) for name, read in readers.items()}
    peer = Peer(SIMPLEJPEG, *files) if kind == "jpeg" else None
    if peer is not None and peer.is_there:
        works["simplejpeg"] = peer
    found = seconds_in_turn(works, arguments.repeats)
    if peer is not None:
        peer.end()
    damaged = folder / f"damaged{files[0].suffix}"
    content = files[0].read_bytes()
    safe = {name: refuses(read, content, kind, damaged) for name, read in readers.items()}
    if peer is not None and peer.is_there:
        safe["simplejpeg"] = refuses(one_simplejpeg, content, kind, damaged)
    rows = []
    for name, seconds in found.items():
        told = f"{1e3 * sorted(seconds)[len(seconds) // 2] / len(files):.1f} ms"
        rows.append([f"{kind}, {name}", told, f"{ratio(seconds, found[OURS]):.2f}", safe[name]])
    if peer is not None and not peer.is_there:
        rows.append([f"{kind}, simplejpeg", "not installed", "", ""])
    others = {
        name: ratio(found[OURS], seconds) for name, seconds in found.items() if safe[name] == "yes" and name != OURS
    }
    best = max(others, key=others.__getitem__, default="")
    marks = (
        [Mark(f"{kind}, time beside {best}, the best that is safe", others[best], 1.0, at_most=True)] if best else []
    )
    return rows, marks


def one_simplejpeg(file: Path) -> None:
    """Decode one file in a process of its own; a process that ends says that it was refused."""
    peer = Peer(SIMPLEJPEG, file)
    try:
        peer()
    finally:
        peer.end()


def draft_difference(folder: Path, size_px: int, side_px: int) -> float:
    """Return by how many gray levels a film of random noise, decoded at half the size, differs at most when small."""
    noise = np.random.default_rng(0).integers(0, 256, (size_px, size_px), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=90)
    small = []
    for shrink in (1, 2):
        with Image.open(file) as picture:
            picture.draft("L", (size_px // shrink, size_px // shrink))
            box = (0, 0, size_px / shrink, size_px / shrink)
            gray = picture.convert("F").resize((side_px, side_px), Image.Resampling.BILINEAR, box)
            small.append(np.asarray(gray))
    return float(np.abs(small[1] - small[0]).max())


def cache(records: Records, folder: Path) -> list[list[str]]:
    """Return how fast the cache is built on one thread and on all, and found again."""
    rows = []
    for n_workers in (1, os.cpu_count() or 1):
        for what in ("built", "found again"):
            start = perf_counter()
            cache_films(records, ImageSpec(size_px=SIDE), folder=folder / f"cache{n_workers}", n_workers=n_workers)
            speed = len(records) / (perf_counter() - start)
            rows.append([f"cache of jpeg, {what}, {n_workers} threads", f"{speed:,.0f} films/s", "", ""])
    return rows


def main() -> None:
    parser = settings(__doc__)
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--size", type=int, default=2048, help="side of the films in pixels")
    parser.add_argument("--repeats", type=int, default=N_REPEATS)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.films, arguments.size, arguments.repeats = 2, 256, 1
    torch.set_num_threads(1)
    rows: list[list[str]] = []
    marks: list[Mark] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for kind in READERS:
            own_rows, own_marks = measure(kind, folder, arguments)
            rows, marks = rows + own_rows, marks + own_marks
        rows += cache(write_films(folder / "many", 8 * arguments.films, size_px=arguments.size), folder)
        apart = {side: draft_difference(folder, arguments.size, side) for side in (96, SIDE)}
    told = ", ".join(f"{levels:.2f} at {side} px" for side, levels in apart.items())
    note = (
        f"{arguments.films} films of {arguments.size} px, to {SIDE} px, one thread; of JPEG decoded at half the size "
        f"the gray of noise differs by {told} (levels, at most), and it is not used"
    )
    heads = ["film and reader", "one film", "of our time", "refuses films cut short"]
    tell(Answer("Decoding a film to the cache", heads, rows, marks, note), arguments.json)


if __name__ == "__main__":
    main()
