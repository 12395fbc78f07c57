"""Which rows make which file: shards of a table, under names that say of what they are and what decided their numbers.

Whoever makes a shard makes the same one, and it is committed under one name by renaming. So one that was begun twice is
there once, a lost worker costs its shard's time, and a run goes on with the shards that are not there.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fewshot_cxr._json import parse_json
from fewshot_cxr._version import __version__
from fewshot_cxr.engines.film_table import FilmTable
from fewshot_cxr.engines.places import commit, names_in, opened, sweep
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.whole_files import write_json

_PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done, plain values that every worker gets.

    Args:
        table: of the films.
        folder: of the shards, or its address.
        kind: "embed" or "predict".
        spec: how films become images.
        decides: of the numbers, what the films' pixels do not say: encoder, settings; plain JSON values.
        split: the films of this one alone; None: all.
        any_modality: take what is no X-ray of the chest by its DICOM header, too.
        looks_at_pixels: marks of each film are wanted.
        batch_size: films at a time.
        begun_at: seconds since 1970; a film that was written later is not the one that was asked for.
    """

    table: FilmTable
    folder: str
    kind: str
    spec: ImageSpec
    decides: Mapping[str, Any]
    split: str | None = None
    any_modality: bool = False
    looks_at_pixels: bool = False
    batch_size: int = 128
    begun_at: float = 0.0

    def key(self) -> dict[str, Any]:
        """Return all that decides what is in the shards, each part under the name that a person knows it by."""
        root = hashlib.sha256(self.table.root.encode()).hexdigest()  # what may be mailed does not say where films lie
        return {
            "kind": self.kind,
            "table of films": self.table.sha256,
            "columns": dict(self.table.taken),
            "--root": root,
            "--path-suffix": self.table.path_suffix,
            "--patient-pattern": self.table.patient_pattern,
            "--rows-per-shard": self.table.rows_per_shard,
            "--split": self.split,
            "--any-modality": self.any_modality,
            "--batch-size": self.batch_size,
            "version of fewshot_cxr": __version__,
            **self.decides,
        }

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the key."""
        return hashlib.sha256(json.dumps(self.key(), sort_keys=True).encode()).hexdigest()

    def address(self, shard: int) -> str:
        """Return where a shard is committed."""
        return f"{self.folder}/{self._name(shard, self.digest)}"

    def missing(self) -> list[int]:
        """Return the shards that are not committed yet, in order."""
        there, digest = names_in(self.folder), self.digest
        return [shard for shard in range(self.table.n_shards) if self._name(shard, digest) not in there]

    def begun(self) -> "Plan":
        """Return the plan as it was begun in its folder, or begin it there; what killed processes left is swept away.

        Raises:
            ValueError: the folder holds another one.
        """
        sweep(self.folder)
        address, key = f"{self.folder}/{_PLAN}", json.loads(json.dumps(self.key()))
        if _PLAN not in names_in(self.folder):
            now = time.time()
            known = {"key": key, "begun_at": now, "n_rows": self.table.n_rows, "n_shards": self.table.n_shards}
            commit(address, lambda path: write_json(path, known))
            return replace(self, begun_at=now)
        with opened(address) as file:
            known = parse_json(file.read().decode())
        if not isinstance(known, dict) or not isinstance(known.get("key"), dict) or "begun_at" not in known:
            raise ValueError(f"{address} is no plan of shards: name another folder (--shards)")
        other = [name for name, value in key.items() if known["key"].get(name) != value]
        if other:
            raise ValueError(
                f"{self.folder} holds shards of another {' and '.join(other)}: ask as then, or name another folder "
                "(--shards)"
            )
        return replace(self, begun_at=float(known["begun_at"]))

    def _name(self, shard: int, digest: str) -> str:
        return f"{self.kind}-{digest[:12]}-{shard:06d}-of-{self.table.n_shards:06d}.safetensors"
