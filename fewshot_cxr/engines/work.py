"""What is done with the films of a shard, once they are decoded: they are embedded, or a bank answers for them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from fewshot_cxr._told_paths import told_value
from fewshot_cxr.encoders import Encoder, deciding_options, encoder_hash
from fewshot_cxr.engines.decoded import DecodedShard
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.inference.bank.answering import AskedFilm, answer_files
from fewshot_cxr.inference.bank.comparing import measure_by
from fewshot_cxr.inference.batches import embed_batches

Found = tuple[dict[str, torch.Tensor], dict[str, Any]]
"""tensors, of which `rows` are the ids of the rows that are in the shard, and JSON values"""


@dataclass(frozen=True, eq=False)
class Embedding:
    """Films become vectors of an encoder."""

    encoder: Encoder
    kind: ClassVar = "embed"
    looks_at_pixels: ClassVar = False

    @property
    def spec(self) -> ImageSpec:
        """How films become images."""
        return self.encoder.image_spec

    def decides(self) -> dict[str, Any]:
        """Return the hash of weights, and options and image spec."""
        options = deciding_options(self.encoder.recipe)
        return {"encoder": encoder_hash(self.encoder), "encoder's options": options, "image spec": self.spec.to_json()}

    def done(self, films: DecodedShard, batch_size: int, device: torch.device) -> Found:
        """Return the vectors of the films that could be read, and what the table says of each."""
        parts = list(embed_batches(self.encoder, films.batches(batch_size), device))
        vectors = np.concatenate(parts) if parts else np.zeros((0, self.encoder.embedding_dim), dtype=np.float32)
        read = np.array([place for place in range(len(films.films)) if place not in films.problems], dtype=np.int64)
        if not np.isfinite(vectors[read]).all():
            raise ValueError("the embedding of a film is not finite; a diverged encoder? Lower the learning rate")
        told = [films.films[place] for place in read]
        facts = [[one.path, one.finding, one.patient_id, one.group_id, one.source] for one in told]
        tensors = {"rows": torch.from_numpy(films.rows[read]), "vectors": torch.from_numpy(vectors[read])}
        return tensors, {"films": facts}


@dataclass(frozen=True, eq=False)
class Answering:
    """A bank answers for films; see `SupportBank.answers` for its arguments."""

    bank: SupportBank
    never_abstain: bool = False
    n_nearest: int = 3
    prevalence: Mapping[str, float] | None = None
    keeps_paths: bool = False
    kind: ClassVar = "predict"
    looks_at_pixels: ClassVar = True

    @property
    def spec(self) -> ImageSpec:
        """How films become images."""
        return self.bank.own_encoder().image_spec

    def decides(self) -> dict[str, Any]:
        """Return the hashes of bank and calibration, and how it is asked."""
        fitted = json.dumps(self.bank.fitted_json(), sort_keys=True)
        return {
            "bank": self.bank.content_hash,
            "calibration": hashlib.sha256(fitted.encode()).hexdigest(),
            "--never-abstain": self.never_abstain,
            "--n-nearest": self.n_nearest,
            "--prevalence": None if self.prevalence is None else dict(self.prevalence),
            "--index": self.bank.index,
            "--keep-paths": self.keeps_paths,
        }

    def done(self, films: DecodedShard, batch_size: int, device: torch.device) -> Found:
        """Return a row of texts for each film, as `fscxr predict --csv` writes it; of one that cannot be read, too."""
        answers = answer_files(
            self.bank.grounds,
            self._asked(films, batch_size, device),
            never_abstain=self.never_abstain,
            n_nearest=self.n_nearest,
            prevalence=self.prevalence,
        )
        rows = [answer.row() for answer in answers]
        told = [list(row if self.keeps_paths else told_value(row)) for row in rows]
        return {"rows": torch.from_numpy(films.rows)}, {"answers": told}

    def _asked(self, films: DecodedShard, batch_size: int, device: torch.device) -> Iterator[list[AskedFilm]]:
        measure = measure_by(self.bank.own_encoder(), str(device))
        for number, squares in enumerate(films.batches(batch_size)):
            some = list[AskedFilm]()
            for place, found in enumerate(measure(squares), start=number * batch_size):
                path, problem = films.films[place].path, films.problems.get(place)
                marks = films.marks[place]
                if problem is None:
                    some.append(AskedFilm(path, square=squares[len(some)], marks=marks, **found))
                else:
                    some.append(AskedFilm(path, problem=problem))
            yield some


Work = Embedding | Answering
