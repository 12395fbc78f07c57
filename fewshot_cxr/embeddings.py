"""Embeddings with what is known of each film: all that evaluation, banks and plots need; none knows the network."""

import warnings
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_cxr._checks import check_form
from fewshot_cxr._csv import csv_text
from fewshot_cxr._html import counts_text, facts_text, html_table, scatter_picture
from fewshot_cxr._kinds import EMBEDDINGS, refuse_other_kind
from fewshot_cxr.patient_ids import items_of, known_patients
from fewshot_cxr.storage import load_tensors, save_tensors
from fewshot_cxr.unknown_patients import unknown_part
from fewshot_cxr.whole_files import whole_file

_MOST_DRAWN = 500
_ARRAYS = ("vectors", "class_ids", "patient_ids", "has_patient")
_FACTS = ("class_names", "sources", "paths", "distance", "weights")
_FORM: dict[str, Any] = {"class_names": [str], "sources?": ([str], None), "paths?": ([str], None)}
_FORM |= {"distance?": (str, None), "weights?": (dict, None)}
_SAME = 1e-6  # of the largest value: the last digits of one film differ with the size of a batch


@dataclass(frozen=True, eq=False, init=False)
class Embeddings:
    """One row per film. Ids may be any hashable values; they are relabelled, so that gaps and strings do no harm.

    Args:
        vectors: float, shape (N, dim); finite. An array or a tensor; kept as float32.
        class_ids: N findings (names or numbers). With `class_names`, integers index into it. Multi-label:
            shape (N, n_findings) with 1 present, 0 absent, NaN not stated; then `class_names` is needed.
        patient_ids: N ids of whatever episodes must not split (`Record.group`); None: each row is its own patient, as
            is a row whose id is None, NaN or an empty text.
        class_names: names in the order of `class_ids`; None: the sorted distinct ids.
        sources: N texts, if known.
        paths: N texts, if known; they make a draw independent of the order of rows.
        distance: a name in DISTANCES, the one that their encoder was trained with, by which they want to be compared;
            None: not known.
        weights: what is known of the weights that their encoder started from (`Encoder.origin`); None: nothing.
        has_patient: N booleans, whether the patient of each row is known, for `patient_ids` that number all of them.
            None: where the id is not None, NaN or an empty text.

    After construction `class_ids` is int64 (N,) into `class_names` (or float32 (N, n_findings)), `patient_ids` int64
    (N,), `has_patient` bool (N,), and texts are tuples.

    Raises:
        ValueError: lengths differ, a vector is not finite, an id is not in `class_names`.

    Examples:
        >>> films = Embeddings([[0, 1], [1, 0], [1, 1]], ["normal", "covid19", "normal"], ["ann", "ben", "ann"])
        >>> films.class_names, films.class_ids.tolist(), films.patient_ids.tolist()
        (('covid19', 'normal'), [1, 0, 1], [0, 1, 0])
        >>> films.take([0, 2])
        Embeddings(films: 2; numbers a film: 2; findings: normal 2, covid19 0; patients: 1; distance: unknown)
    """

    vectors: np.ndarray
    class_ids: np.ndarray
    patient_ids: np.ndarray
    class_names: tuple[str, ...]
    sources: tuple[str, ...] | None
    paths: tuple[str, ...] | None
    distance: str | None
    weights: Mapping[str, Any] | None
    has_patient: np.ndarray

    def __init__(
        self,
        vectors: Any,
        class_ids: Any,
        patient_ids: Any = None,
        class_names: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        *,
        paths: Sequence[str] | None = None,
        distance: str | None = None,
        weights: Mapping[str, Any] | None = None,
        has_patient: Any = None,
    ) -> None:
        rows = np.ascontiguousarray(_array(vectors), dtype=np.float32)
        if rows.ndim != 2 or not rows.size:
            raise ValueError(f"vectors must have shape (N, dim) with N and dim above 0, got {rows.shape}")
        if not np.isfinite(rows).all():
            row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise ValueError(f"row {row} of vectors is not finite; a diverged encoder? Lower the learning rate")
        ids, names = _classes(class_ids, class_names)
        patients, is_known = known_patients(len(rows), patient_ids, has_patient)
        values: dict[str, Any] = {
            "vectors": rows,
            "class_ids": ids,
            "patient_ids": patients,
            "has_patient": is_known,
            "class_names": names,
            "sources": None if sources is None else tuple("" if s is None else str(s) for s in sources),
            "paths": None if paths is None else tuple(map(str, paths)),
        }
        for name, value in values.items():
            if value is not None and name != "class_names" and len(value) != len(rows):
                raise ValueError(f"{name} has {len(value)} entries for {len(rows)} vectors")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "distance", distance)
        object.__setattr__(self, "weights", dict(weights) if weights else None)

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return facts_text("Embeddings", self._facts())

    def _repr_html_(self) -> str:
        return html_table(self._facts(), caption="Embeddings") + ("" if self.is_multi_label else self._picture())

    def _picture(self) -> str:
        """Draw up to 500 films along the two directions in which they differ most."""
        rows = np.linspace(0, len(self) - 1, min(len(self), _MOST_DRAWN)).round().astype(np.int64)
        centred = self.vectors[rows] - self.vectors[rows].mean(axis=0)
        widest = np.linalg.svd(centred, full_matrices=False)[2][:2]
        points = np.zeros((len(rows), 2))
        points[:, : len(widest)] = centred @ widest.T
        return scatter_picture(points, self.class_ids[rows].tolist(), self.class_names)

    def _facts(self) -> list[tuple[str, str]]:
        """Return (name, text) pairs that say in short what these are."""
        counts = dict(zip(self.class_names, self._shows.sum(axis=0).tolist(), strict=True))
        facts = {"films": f"{len(self):,}", "numbers a film": f"{self.vectors.shape[1]:,}"}
        facts |= {"findings": counts_text(counts), "patients": self._patients_text()}
        if self.sources is not None:
            facts["sources"] = counts_text(Counter(source or "unknown" for source in self.sources))
        whose = [("weights", str(self.weights.get("name", "")))] if self.weights else []
        return [*facts.items(), ("distance", self.distance or "unknown"), *whose]

    def _patients_text(self) -> str:
        n_unknown = self.n_films_without_patient
        if n_unknown == len(self):
            return "unknown"
        return f"{len(np.unique(self.patient_ids)):,}{unknown_part(n_unknown, len(self))}"

    @property
    def _shows(self) -> np.ndarray:
        """Which film shows which finding, bool, shape (N, n_findings)."""
        if self.is_multi_label:
            return np.asarray(self.class_ids == 1)
        return np.asarray(self.class_ids[:, None] == np.arange(len(self.class_names)))

    @property
    def is_multi_label(self) -> bool:
        """Whether a film may have several findings."""
        return bool(self.class_ids.ndim == 2)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Embeddings":
        """Return the films at these positions, in this order, under the same class names."""
        return Embeddings(
            self.vectors[rows],
            self.class_ids[rows],
            self.patient_ids[rows],
            self.class_names,
            None if self.sources is None else [self.sources[row] for row in rows],
            paths=None if self.paths is None else [self.paths[row] for row in rows],
            distance=self.distance,
            weights=self.weights,
            has_patient=self.has_patient[rows],
        )

    @property
    def n_films_without_patient(self) -> int:
        """How many films are of unknown patients."""
        return int((~self.has_patient).sum())

    @property
    def film_names(self) -> tuple[str, ...]:
        """What each film is known by: its path or, where there are none, its row."""
        return tuple(f"row {row}" for row in range(len(self))) if self.paths is None else self.paths

    def save(self, path: str | Path) -> None:
        """Save to one file, whole or not at all, in the form that its suffix says.

        A .safetensors (or no suffix) holds everything, and `load` takes it. A .csv has a row for each film: path,
        finding, patient (a number; empty: unknown), source and the values. A .npy holds the vectors alone.

        Raises:
            ValueError: the suffix says another form.
            FileExistsError: a file of another kind is there, such as a manifest or an array of something else.
        """
        form = Path(path).suffix.lower()
        if form not in ("", *EMBEDDINGS):
            raise ValueError(f"{path}: embeddings are saved as .safetensors, .csv or .npy")
        refuse_other_kind(path, EMBEDDINGS[form or ".safetensors"])
        if form in (".csv", ".npy"):
            with whole_file(path) as part, part.open("wb") as file:
                if form == ".csv":
                    file.write(self._table().encode(errors="backslashreplace"))
                else:
                    np.save(file, self.vectors)
            return
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        header = {name: getattr(self, name) for name in _FACTS if name != "weights" or self.weights}
        save_tensors(path, tensors, kind="embeddings", header=header)

    def _table(self) -> str:
        """Return the rows of a CSV; nine digits give a float32 back to the last bit."""
        shows = self._shows
        table = [["path", "finding", "patient", "source", *(f"e{at}" for at in range(self.vectors.shape[1]))]]
        for row, vector in enumerate(self.vectors):
            findings = "|".join(self.class_names[at] for at in np.flatnonzero(shows[row]))
            source = "" if self.sources is None else self.sources[row]
            patient = self.patient_ids[row] if self.has_patient[row] else ""
            facts = self.film_names[row], findings, patient, source
            table.append([*facts, *(f"{value:.9g}" for value in vector)])
        return csv_text(table)

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Load what `save` wrote; the errors are those of `storage.load_tensors`.

        A file of before `has_patient` takes every patient for known. Rows that are all the same are warned of.

        Raises:
            ValueError: it holds no embeddings that this version can read; the text names file and key.
        """
        tensors, header = load_tensors(path, kind="embeddings")
        check_form(header, _FORM, f"{path}: its header")
        if others := sorted(header.keys() - _FACTS | tensors.keys() - _ARRAYS):
            raise ValueError(f"{path} holds {others[0]!r:.60}, which this version does not know: embed the films anew")
        try:
            arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
            loaded = cls(**arrays, **header)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no embeddings that can be used: {error}") from error
        warn_of_collapse(loaded.vectors, str(path))
        return loaded


def warn_of_collapse(vectors: np.ndarray, whose: str) -> None:
    """Warn where several films have one and the same vector, by which no rule can tell them apart.

    Args:
        vectors: float, shape (N, dim).
        whose: they are, to begin the text with.
    """
    if len(vectors) > 1 and np.ptp(vectors, axis=0).max() <= _SAME * np.abs(vectors).max():
        warnings.warn(
            f"{whose}: the vectors of all {len(vectors):,} films are the same, so that nothing tells the films apart: "
            "they are copies of one film, or the encoder has collapsed (train it anew at a lower rate, --lr)",
            stacklevel=3,
        )


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().float().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _classes(ids: Any, names: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    if getattr(ids, "ndim", 1) == 2:
        return _multi_label(_array(ids), names)
    items = items_of(ids)
    if any(isinstance(item, (list, np.ndarray)) for item in items):
        return _multi_label(items, names)
    if names is None:
        distinct = sorted(set(items), key=lambda item: (str(type(item)), item))
        if len({str(item) for item in distinct}) != len(distinct):
            raise ValueError(f"class_ids hold different ids of the same name: {distinct}")
        position = {item: index for index, item in enumerate(distinct)}
        return np.array([position[item] for item in items], dtype=np.int64), tuple(map(str, distinct))
    names = _distinct(names)
    known: dict[Hashable, int] = {name: index for index, name in enumerate(names)}
    known.update({index: index for index in range(len(names))})
    unknown = [item for item in items if item not in known]
    if unknown:
        raise ValueError(f"class id {unknown[0]!r} is not in class_names {names}")
    return np.array([known[item] for item in items], dtype=np.int64), names


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(map(str, names))
    if len(set(names)) != len(names):
        raise ValueError(f"class_names must differ from each other, got {names}")
    return names


def _multi_label(rows: Any, names: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    try:
        table = np.array(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "multi-label class_ids must be rows of equal length that hold 1 (present), 0 (absent) or NaN (not stated)"
        ) from error
    if names is None or len(names) != table.shape[1]:
        raise ValueError(f"multi-label class_ids of shape {table.shape} need {table.shape[1]} class_names")
    if not (np.isin(table, (0, 1)) | np.isnan(table)).all():
        raise ValueError("multi-label class_ids must hold 1 (present), 0 (absent) or NaN (not stated)")
    return table, _distinct(names)
