"""One bit of a file turned over: every bit of the header, some of the tensors; what is read then must not differ."""

import os
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from made_hostile import cuts, zero_tails

from fault_kinds.attack import Attack, believed, fingerprint, fresh
from fewshot_cxr import Embeddings, ImageSpec, build_encoder, load_encoder
from fewshot_cxr.data import cache_films, read_dataset
from fewshot_cxr.encoders import load_head, save_encoder
from fewshot_cxr.episodes import SavedEpisodes
from fewshot_cxr.training.last_checkpoint import read_checkpoint

N_TENSOR_BITS = 1_000
SPEC = ImageSpec(size_px=32)


def encoder(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    yield from _flips(_small_encoder(made), _encoder_says, draw, share)


def classifier(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    yield from _flips(_small_classifier(made), _classifier_says, draw, share)


def embeddings(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    yield from _flips(made / "all.safetensors", _embeddings_say, draw, share)


def episodes(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    films = Embeddings.load(made / "test.safetensors")
    yield from _flips(made / "test.episodes", partial(_episodes_say, films), draw, share)


def checkpoint(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Flip bits of a last.ckpt: what stands around its tensors, and the tensors."""
    file = made / "run" / "last.ckpt"
    content = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        is_tensor = np.zeros(len(content), dtype=bool)
        for member in archive.infolist():
            if "/data/" in member.filename:
                start = (
                    member.header_offset
                    + 30
                    + int.from_bytes(content[member.header_offset + 26 : member.header_offset + 28], "little")
                    + int.from_bytes(content[member.header_offset + 28 : member.header_offset + 30], "little")
                )
                is_tensor[start : start + member.file_size] = True
    around = draw.permutation(np.flatnonzero(~is_tensor))
    chosen = [*around[: int(4_000 * share)], *draw.choice(np.flatnonzero(is_tensor), int(N_TENSOR_BITS * share))]
    bits = 8 * np.array(chosen) + draw.integers(0, 8, len(chosen))
    yield from _each(file, bits.tolist(), _checkpoint_says)


def pieces(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Cut each form, end it with zeros as after a loss of power, leave nothing of it, and put another in its place."""
    films = Embeddings.load(made / "test.safetensors")
    readers: dict[Path, Callable[[Path], Any]] = {
        made / "classifier" / "encoder.safetensors": _classifier_says,
        made / "all.safetensors": _embeddings_say,
        made / "test.episodes": partial(_episodes_say, films),
        made / "run" / "last.ckpt": _checkpoint_says,
    }
    for file, read in readers.items():
        foreign = (made / name for name in ("run/encoder.safetensors", "split.csv", "run.json"))
        others = [other.read_bytes() for other in (*readers, *foreign) if other != file]
        yield from pieces_of(file, read, others, None if share == 1 else 2)


def pieces_of(file: Path, read: Callable[[Path], Any], others: list[bytes], n_each: int | None) -> Iterator[Attack]:
    """Yield n_each attacks of each sort (None: all) on a file that `read` reads, with the content of others, too."""
    truth, content = fingerprint(read(file)), file.read_bytes()
    spoilt = {"cut": cuts(content), "zeros": zero_tails(content), "of another kind": others, "empty": [b""]}
    for what, many in spoilt.items():
        for number, damaged in enumerate(islice(many, n_each)):
            yield f"{file.name} {what} {number}", partial(_believed, damaged, _place(file), read, truth)


def cache(made: Path, draw: np.random.Generator, share: float) -> Iterator[Attack]:
    """Flip bits of a cache's pack and of its index, the date of the file unchanged."""
    films = read_dataset("manifest", made / "films.csv").take(range(6))
    whole = made / "whole_cache"
    cache_films(films, SPEC, folder=whole)
    truth = fingerprint(_cache_says(films, whole))
    for suffix in (".u8", ".json"):
        file = next(whole.glob(f"recipe*/*{suffix}"))
        n_bits = 8 * file.stat().st_size
        n_chosen = N_TENSOR_BITS if suffix == ".u8" else 2_000
        for bit in draw.choice(n_bits, min(n_bits, int(n_chosen * share)), replace=False).tolist():
            yield f"{suffix} bit {bit}", partial(_flip_cache, films, whole, file.relative_to(whole), bit, truth)


def _small_classifier(made: Path) -> Path:
    """Write a classifier whose card says what a classifier's must, and no more: each bit takes its time."""
    whole, file = made / "classifier" / "encoder.safetensors", made / "small_classifier.safetensors"
    if not file.exists():
        net, (head, card) = load_encoder(whole), load_head(whole)
        kept = {name: card[name] for name in ("findings", "head", "distance", "best_epoch") if name in card}
        save_encoder(net, file, card=kept, head=head)
    return file


def _small_encoder(made: Path) -> Path:
    file = made / "small.safetensors"
    if not file.exists():
        net = build_encoder("resnet9", image_spec=SPEC, embedding_dim=4, width=4)
        save_encoder(net, file, card={"findings": ["bright", "dark"], "distance": "cosine", "best_epoch": 3})
    return file


def _flips(file: Path, read: Callable[[Path], Any], draw: np.random.Generator, share: float) -> Iterator[Attack]:
    content = file.read_bytes()
    n_head = 8 * (8 + int.from_bytes(content[:8], "little"))
    head = np.arange(n_head) if share == 1 else draw.choice(n_head, int(4_000 * share), replace=False)
    n_bits = 8 * len(content)
    bits = [*head.tolist(), *draw.integers(n_head, n_bits, int(N_TENSOR_BITS * share)).tolist()]
    yield from _each(file, bits, read)


def _each(file: Path, bits: list[int], read: Callable[[Path], Any]) -> Iterator[Attack]:
    truth, content = fingerprint(read(file)), file.read_bytes()
    for bit in bits:
        yield f"bit {bit}", partial(_flip, content, bit, _place(file), read, truth)


def _place(file: Path) -> Path:
    """Return where a damaged copy of a file is put, under the same name."""
    place = file.parent / f"flipped_{os.getpid()}"
    place.mkdir(exist_ok=True)
    return place / file.name


def _flip(content: bytes, bit: int, file: Path, read: Callable[[Path], Any], truth: bytes) -> str:
    return _believed(_with_bit(content, bit), file, read, truth)


def _believed(content: bytes, file: Path, read: Callable[[Path], Any], truth: bytes) -> str:
    file.write_bytes(content)
    return believed(partial(read, file), truth, file)


def _flip_cache(films: Any, whole: Path, name: Path, bit: int, truth: bytes) -> str:
    folder = fresh(whole.parent, f"flipped_{name.suffix}_{bit}")  # a pack is tested once in each process
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    file, date = folder / name, (whole / name).stat()
    file.write_bytes(_with_bit(file.read_bytes(), bit))
    os.utime(file, ns=(date.st_atime_ns, date.st_mtime_ns))
    outcome = believed(partial(_cache_says, films, folder), truth, file)
    shutil.rmtree(folder)
    return outcome


def _with_bit(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def _encoder_says(file: Path) -> Any:
    net = load_encoder(file)
    return [net.state_dict(), net.recipe, net.image_spec, net.card]


def _classifier_says(file: Path) -> Any:
    return [*_encoder_says(file), *load_head(file)]


def _embeddings_say(file: Path) -> Any:
    return vars(Embeddings.load(file))


def _episodes_say(films: Embeddings, file: Path) -> Any:
    saved = SavedEpisodes.load(file, films)
    blocks = [vars(block) for block in saved.blocks()]
    return [blocks, saved.to_json(), saved.n_way, saved.n_episodes, saved.seed, saved.hash, saved.notes]


def _checkpoint_says(file: Path) -> Any:
    return read_checkpoint(file)


def _cache_says(films: Any, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cache_films(films, SPEC, folder=folder)
    return [found.rows(range(len(found))), found.records.problems, found.records.notes]
