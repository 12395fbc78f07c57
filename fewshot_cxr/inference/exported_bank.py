"""A bank that was exported (`export.export_bank`): the same answers by onnxruntime, without torch."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._checks import check_form
from fewshot_cxr._html import facts_text
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank.abstaining import Thresholds
from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.inference.bank.answering import AskedFilm, Grounds, answer_files, asked_films
from fewshot_cxr.inference.bank.calibration import Calibration
from fewshot_cxr.inference.bank.conformal import SupportConformal
from fewshot_cxr.inference.bank.neighbourhood import Neighbourhood
from fewshot_cxr.inference.bank.operating_points import OperatingPoint
from fewshot_cxr.inference.bank.patient_shares import CalledPatients
from fewshot_cxr.inference.exported_file import FILMS, OUTPUTS, constants_of, open_session, read_head
from fewshot_cxr.inference.neighbours import Neighbours, nearest_among, told_prediction
from fewshot_cxr.inference.prediction import Prediction
from fewshot_cxr.inference.same_films import SameFilms

_FORM = {
    "content_hash": str,
    "terms": {"rule": str, "distance": str, "encoder": dict},
    "fitted": {
        "calibration": (dict, None),
        "thresholds": (dict, None),
        "is_stale": bool,
        "called": [dict],
        "points": [dict],
    },
    "names": [str],
    "findings": [str],
    "people": [int],
    "looks_at_pixels": bool,
    "facts": [[str]],
}


class ExportedBank:
    """A bank that answers by onnxruntime.

    Args:
        path: of a file that `fscxr export onnx` wrote.
        threads: of the processor; None: all.

    Attributes:
        findings: the findings that it knows, by name.
        content_hash: of the bank that was exported.

    Raises:
        ImportError: onnxruntime is not installed.
        OSError: there is no such file, or it is damaged.
        ValueError: it is no exported bank.
    """

    index = "exact"

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self._session = open_session(path, threads=threads)
        head = read_head(self._session, path, kind="bank")
        check_form(head, _FORM, f"{path}: its metadata")
        self.content_hash, self._facts = head["content_hash"], [(fact[0], fact[-1]) for fact in head["facts"]]
        self.terms, self._fitted = head["terms"], head["fitted"]
        self._spec = ImageSpec.from_json(dict(self.terms["encoder"]["image_spec"]))
        self._vectors, self._features, self._left_out = constants_of(self._session, path, head)
        held, self._labels = np.unique(head["findings"], return_inverse=True)
        self.findings = tuple(map(str, held))
        self._names, self._people, self._same = head["names"], np.array(head["people"]), SameFilms(self._vectors)
        n = len(self._vectors)
        if not n == len(self._names) == len(self._people) == len(self._labels) == len(self._left_out):
            raise OSError(f"{path} is damaged: its exemplars have other numbers of names; export it anew")
        self._grounds = self._made_grounds(looks_at_pixels=head["looks_at_pixels"])

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return facts_text("ExportedBank", self._facts)

    def facts(self) -> list[tuple[str, str]]:
        """Return what it is, in words."""
        return list(self._facts)

    def fitted_json(self) -> Mapping[str, Any]:
        """Return what it knows of its own answers, plain JSON values."""
        return dict(self._fitted)

    def answers(
        self,
        files: Sequence[str | Path],
        *,
        never_abstain: bool = False,
        n_nearest: int = 3,
        any_modality: bool = False,
        batch_size: int = 32,
        device: str = "cpu",
        prevalence: Mapping[str, float] | None = None,
    ) -> Iterator[Answer]:
        """Yield an answer for each file, in order and in constant memory, as `SupportBank.answers` does.

        Args:
            files: of the films.
            never_abstain: name the nearest finding whatever is to be said against it.
            n_nearest: exemplars that an answer shows.
            any_modality: take what is no X-ray of the chest by its DICOM header, too.
            batch_size: films at a time.
            device: "cpu" or "auto".
            prevalence: finding -> share of the patients where the films come from.

        Raises:
            ValueError: another device.
        """
        if device not in ("cpu", "auto"):
            raise ValueError(f"an exported bank runs on the processor, got {device!r}; the bank itself takes a GPU")
        films = asked_films(self._spec, files, self._measure, batch_size=batch_size, any_modality=any_modality)
        how: dict[str, Any] = {"never_abstain": never_abstain, "n_nearest": n_nearest, "prevalence": prevalence}
        yield from answer_files(self._grounds, films, **how)

    def _made_grounds(self, *, looks_at_pixels: bool) -> Grounds:
        told, known = self._fitted, (self._vectors, self._labels, self._people)
        how = {"rule": self.terms["rule"], "distance": self.terms["distance"]}
        is_calibrated = told["calibration"] is not None and not told["is_stale"]
        try:
            near = Neighbourhood(self._features, self._people)
        except ValueError:  # exemplars of fewer than three patients
            near = None
        return Grounds(
            self.findings,
            self._compare,
            partial(SupportConformal, *known, **how),
            Calibration.from_json(told["calibration"]) if is_calibrated else None,
            near,
            None if told["thresholds"] is None else Thresholds.from_json(told["thresholds"]),
            looks_at_pixels=looks_at_pixels,
            called=() if told["is_stale"] else tuple(map(CalledPatients.from_json, told["called"])),
            points=() if told["is_stale"] else tuple(map(OperatingPoint.from_json, told["points"])),
        )

    def _measure(self, squares: np.ndarray) -> Iterator[Mapping[str, np.ndarray]]:
        found = self._session.run(list(OUTPUTS), {FILMS: squares})
        for features, vector, distances, to_exemplars in zip(*found, strict=True):
            yield {"features": features, "vector": vector, "distances": distances, "to_exemplars": to_exemplars}

    def _compare(self, films: Sequence[AskedFilm], n_nearest: int) -> tuple[list[Prediction], np.ndarray]:
        distances, to_exemplars = (
            np.stack([getattr(film, name) for film in films]).astype(np.float64)
            for name in ("distances", "to_exemplars")
        )
        neighbours = Neighbours(nearest_among(to_exemplars), n_nearest, self.findings, self._labels, self._names)
        predictions = []
        for row, film in enumerate(films):
            is_same, values = self._same.of(np.asarray(film.vector)), distances[row]
            if is_same.any():  # decided without it, as when the file was made
                values = self._left_out[np.flatnonzero(is_same)[0]]
            told = {
                name: value
                for name, value in zip(self.findings, values.tolist(), strict=True)
                if not is_same.any() or value == value
            }
            predictions.append(told_prediction(film.path, told, row, is_same, neighbours))
        return predictions, distances
