"""Pooled features that an encoder has found before, beside the decoded films: a film goes through a network once."""

import hashlib
import shutil
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch

from fewshot_cxr._version import __version__
from fewshot_cxr.data import CachedFilms
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.encoders.folding import is_watched
from fewshot_cxr.encoders.own_module import OWN
from fewshot_cxr.encoders.table import is_built_in
from fewshot_cxr.storage import map_tensors, save_tensors, tensor_hash

_KIND = "kept features"
_CODE = ("torch", "torchvision", "timm")  # whose versions may change what a network says, as ours
_UNUSED_SECONDS = 30 * 24 * 3600.0
_PACK_BITS = 32
_AT_ONCE = 4096  # films in a file, but for the last
# Options of the head, and where weights came from.
_OF_NO_FEATURE = ("embedding_dim", "output", "dropout", "n_basis", "n_directions", "pretrained", "weights")


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
        for file in sorted(self._folder.glob("*.safetensors")):
            try:
                self._take(file)
            except (LookupError, OSError, TypeError, ValueError):  # damaged: the films go through the network again
                with suppress(OSError):
                    file.unlink()

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
            save_tensors(
                self._folder / f"{uuid4().hex}.safetensors",
                {name: torch.from_numpy(values) for name, values in tensors.items()},
                kind=_KIND,
                header={"packs": self._stems},
            )

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
    """Return whether a layer's code goes by the versions in the key, and nothing was put in its place."""
    package = type(layer).__module__.partition(".")[0]
    return package in ("fewshot_cxr", *_CODE) and vars(layer).keys().isdisjoint(("forward", "features", "pool"))


def _key(encoder: Encoder, device: str) -> str:
    weights = {name: weight.cpu() for name, weight in encoder.state_dict().items() if not name.startswith("head.")}
    options = {name: value for name, value in encoder.recipe.get("options", {}).items() if name not in _OF_NO_FEATURE}
    code = [__version__, *map(version, _CODE), torch.get_float32_matmul_precision()]
    layers = [type(encoder).__qualname__, *(repr(part) for name, part in encoder.named_children() if name != "head")]
    told = [layers, encoder.recipe["encoder"], sorted(options.items()), encoder.image_spec.to_json(), code, device]
    return tensor_hash(weights, hashlib.sha256(repr(told).encode()))[:32]


def _remove_unused(place: Path, *, but: Path) -> None:
    for folder in place.glob("features-*"):
        if folder != but and time.time() - folder.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
    if but.exists():
        but.touch()
