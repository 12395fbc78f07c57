"""Pooled features that an encoder has found before, beside the decoded films: a film goes through a network once."""

import hashlib
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch

from fewshot_cxr._version import __version__
from fewshot_cxr.data import CachedFilms
from fewshot_cxr.encoders import Encoder, deciding_options
from fewshot_cxr.encoders.folding import is_watched
from fewshot_cxr.encoders.own_module import OWN
from fewshot_cxr.encoders.table import is_built_in
from fewshot_cxr.storage import map_tensors, save_tensors, tensor_hash
from fewshot_cxr.whole_files import sweep_parts

_KIND = "kept features"
_CODE = ("torch", "torchvision", "timm")  # whose versions may change what a network says, as ours
_UNUSED_SECONDS = 30 * 24 * 3600.0
_PACK_BITS = 32
_AT_ONCE = 4096  # films in a file, but for the last
_SMALL_BYTES, _MOST_SMALL = 1 << 20, 64
_OF_HEAD = ("embedding_dim", "output", "n_basis", "n_directions")  # options
_OF_NO_FEATURE = ("training", "n_frozen", "embedding_dim", "heat_layer")  # attributes
_TF32 = ["cuda.matmul.allow_tf32", "cudnn.allow_tf32"]  # and since torch 2.9
_PRECISIONS = [f"{where}.{what}.fp32_precision" for where in ("cuda", "cudnn", "mkldnn") for what in ("matmul", "conv")]


class KeptFeatures:
    """What is kept of some films by one encoder, as the head finds it: float32, shape (n_features,) for each film.

    A folder for each encoder lies beside the packs of films. It goes by all that decides of the features: layers and
    weights before the head, image spec, device, versions of the code; one not asked for in thirty days is removed.

    Args:
        encoder: whose features they are.
        films: decoded films, in packs.
        device: "cpu" or "cuda": their features differ by rounding.
    """

    def __init__(self, encoder: Encoder, films: CachedFilms, device: str) -> None:
        place = films.packs[0].parent
        self._folder = place / f"features-{_key(encoder, device)}"
        self._stems = [pack.stem for pack in films.packs]
        self._codes = films.pack_of_film << _PACK_BITS | films.row_of_film
        self._width, self._features = encoder.n_features, list[np.ndarray]()
        self._new: list[tuple[np.ndarray, np.ndarray]] = []
        self._file = np.full(len(films), -1)
        self._row = np.zeros(len(films), dtype=np.int64)
        with suppress(OSError):  # of a cache that we may only read
            _remove_unused(place, but=self._folder)
            sweep_parts(self._folder)
            _join_small(self._folder, self._width)
        for file in sorted(self._folder.glob("*.safetensors")):
            try:
                self._take(file)
            except (LookupError, OSError, TypeError, ValueError) as error:
                if getattr(error, "errno", None) is None:  # damaged: the films go through the network again
                    file.unlink(missing_ok=True)

    @property
    def is_known(self) -> np.ndarray:
        """Whether the features of each film are kept: bool, shape (N,)."""
        found: np.ndarray = self._file >= 0
        return found

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of films that are known, shape (len(rows), n_features)."""
        found = np.empty((len(rows), self._width), dtype=np.float32)
        for place, row in enumerate(rows):
            found[place] = self._features[self._file[row]][self._row[row]]
        return found

    def keep(self, rows: np.ndarray, features: np.ndarray) -> None:
        """Keep features of films, shape (len(rows), n_features); `write` puts the last of them on the disk."""
        self._new.append((self._codes[rows], features))
        if sum(len(codes) for codes, _ in self._new) >= _AT_ONCE:
            self.write()

    def write(self) -> None:
        """Write what is new, if it is finite and can be written."""
        new, self._new = self._new, []
        if not new:
            return
        codes, features = map(np.concatenate, zip(*new, strict=True))
        if not np.isfinite(features).all():
            return
        tensors = {"pack": codes >> _PACK_BITS, "row": codes & ((1 << _PACK_BITS) - 1), "features": features}
        with suppress(OSError):  # a full disk, or a cache that we may only read: nothing is lost but time
            self._folder.mkdir(exist_ok=True)
            _save(self._folder, tensors, self._stems)

    def _take(self, file: Path) -> None:
        arrays, header = map_tensors(file, kind=_KIND, dtypes=("I64", "F32"))
        features, packs = arrays["features"], header["packs"]
        if features.shape != (len(arrays["row"]), self._width):
            raise ValueError(f"{file} holds features of another width")
        number = {stem: place for place, stem in enumerate(self._stems)}
        own = np.array([number.get(stem, -1) for stem in packs], dtype=np.int64)[arrays["pack"]]
        codes = np.where(own < 0, -1, own << _PACK_BITS | arrays["row"])
        order = np.argsort(codes)
        at = order[np.searchsorted(codes, self._codes, sorter=order).clip(max=len(codes) - 1)]
        is_here = codes[at] == self._codes
        self._file[is_here], self._row[is_here] = len(self._features), at[is_here]
        self._features.append(features)


def _save(folder: Path, arrays: Mapping[str, np.ndarray], packs: Sequence[str]) -> None:
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    save_tensors(folder / f"{uuid4().hex}.safetensors", tensors, kind=_KIND, header={"packs": list(packs)})


def _join_small(folder: Path, width: int) -> None:
    """Make one file of many small ones, which films that come one by one leave: each is opened at every start."""
    small = [file for file in folder.glob("*.safetensors") if file.stat().st_size < _SMALL_BYTES]
    if len(small) < _MOST_SMALL:
        return
    packs, parts, taken = list[str](), list[dict[str, np.ndarray]](), list[Path]()
    for file in small:
        with suppress(LookupError, OSError, TypeError, ValueError):  # what cannot be read stays, for whoever takes it
            arrays, header = map_tensors(file, kind=_KIND, dtypes=("I64", "F32"))
            if arrays["features"].shape == (len(arrays["row"]), width):
                parts.append({**arrays, "pack": arrays["pack"] + len(packs)})
                packs += header["packs"]
                taken.append(file)
    if not taken:
        return
    names, places = np.unique(packs, return_inverse=True)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("pack", "row", "features")}
    _save(folder, joined | {"pack": places[joined["pack"]]}, names.tolist())
    for file in taken:
        file.unlink(missing_ok=True)


def features_kept(encoder: Encoder, films: CachedFilms, device: torch.device) -> KeptFeatures | None:
    """Return what is kept of films; None where nothing is to be.

    A module of somebody's own may say something else tomorrow under the same name, and so may one layer of it; a hook
    wants to see each film, and under autocast features are coarser.
    """
    name = encoder.recipe.get("encoder", "")
    is_ours = bool(name) and not name.startswith(OWN) and is_built_in(name) and all(map(_is_known, encoder.modules()))
    is_plain = not is_watched(encoder) and not torch.is_autocast_enabled(device.type)
    return KeptFeatures(encoder, films, device.type) if is_ours and is_plain and films.packs else None


def _is_known(layer: torch.nn.Module) -> bool:
    """Return whether a layer's code goes by the versions in the key, and no method was put in the place of its own."""
    package = type(layer).__module__.partition(".")[0]
    is_own = not any(callable(getattr(type(layer), name, None)) for name in vars(layer))
    return package in ("fewshot_cxr", *_CODE) and is_own


def _key(encoder: Encoder, device: str) -> str:
    tensors = dict(encoder.named_buffers()) | encoder.state_dict()  # some buffers are in no checkpoint
    weights = {name: tensor.cpu() for name, tensor in tensors.items() if not name.startswith("head.")}
    options = {name: value for name, value in deciding_options(encoder.recipe).items() if name not in _OF_HEAD}
    code = [__version__, *map(version, _CODE), *_precisions()]
    layers = [
        (name, type(layer).__qualname__, layer.extra_repr(), _numbers_of(layer))
        for name, layer in encoder.named_modules()
        if name.partition(".")[0] not in ("head", "dropout")
    ]
    told = [layers, encoder.recipe["encoder"], sorted(options.items()), encoder.image_spec.to_json(), code, device]
    return tensor_hash(weights, hashlib.sha256(repr(told).encode()))[:32]


def _numbers_of(layer: torch.nn.Module) -> list[tuple[str, object]]:
    """Return the plain attributes of a layer, which `repr` need not show."""
    plain = {name: value for name, value in vars(layer).items() if isinstance(value, (bool, int, float, str, tuple))}
    return sorted((name, value) for name, value in plain.items() if name not in _OF_NO_FEATURE)


def _precisions() -> list[str]:
    """Return how exactly torch multiplies: by the names of its versions, of which it may refuse those not used."""
    told = []
    for name in _TF32 + _PRECISIONS:
        with suppress(AttributeError, RuntimeError):
            told.append(f"{name} {attrgetter(name)(torch.backends)}")
    return told


def _remove_unused(place: Path, *, but: Path) -> None:
    for folder in place.glob("features-*"):
        if folder != but and time.time() - folder.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
    if but.exists():
        but.touch()
