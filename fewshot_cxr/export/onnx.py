"""A bank, or an encoder, as one ONNX file: from square films to distances, with all that answering needs beside it.

Decoding, crop, size and equalisation stay in the shared Pillow and NumPy code, for no resize of ONNX equals Pillow's:
the graph begins at uint8 (N, S, S). What is no arithmetic of a film (names, thresholds, calibration, licence) stands as
JSON in the file's metadata; the exemplars' vectors are outputs that hang on no input.
"""

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_cxr import data
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr._version import __version__
from fewshot_cxr.encoders import Encoder, encoder_hash
from fewshot_cxr.encoders.base import eval_mode
from fewshot_cxr.export.graph_rules import GRAPH_RULES, Comparison
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.exported_file import (
    CONSTANTS,
    FILMS,
    FORMAT_VERSION,
    KEY,
    KEY_HASH,
    OUTPUTS,
    array_hash,
    open_session,
    self_test_films,
    text_hash,
)
from fewshot_cxr.inference.predictor import compare_by
from fewshot_cxr.whole_files import write_bytes

MOST_DIFFERENT = 1e-3
"""Largest difference of an embedding or a distance from torch's, in parts of the largest number, that is let pass."""
MOST_EXEMPLARS = 10_000
_OPSET = 20
_LACKS = "an ONNX file is made by onnx and onnxscript: pip install fewshot_cxr[onnx]"


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from torch.

    Args:
        path: the file.
        n_bytes: its size.
        differences: output -> largest difference on (noise, films that were given), in parts of the largest number.
        n_films: films that were given.

    Examples:
        >>> from fewshot_cxr.export.onnx import MOST_DIFFERENT
        >>> exported = Exported(Path("bank.onnx"), 4_096, {"embeddings": (1e-6, 2e-6)}, n_films=3)
        >>> exported.to_json()["differences"], max(exported.differences["embeddings"]) <= MOST_DIFFERENT
        ({'embeddings': [1e-06, 2e-06]}, True)
    """

    path: Path
    n_bytes: int
    differences: Mapping[str, tuple[float, ...]]
    n_films: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        told = {name: list(values) for name, values in self.differences.items()}
        return {"path": str(self.path), "n_bytes": self.n_bytes, "differences": told, "n_films": self.n_films}


class _Films(nn.Module):
    """Square films to pooled features and embeddings, and to distances where there are exemplars."""

    def __init__(self, encoder: Encoder, comparison: Comparison | None) -> None:
        super().__init__()
        self.encoder, self.comparison = encoder, comparison

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        images = data.to_images(films, self.encoder.image_spec)
        features = self.encoder.pool(self.encoder.features(images))
        vectors = self.encoder.head(features)
        more = () if self.comparison is None else self.comparison(vectors)
        return (features, vectors, *more)


def export_bank(
    bank: SupportBank, path: str | Path, *, films: Sequence[str | Path] = (), progress: Bar | None = None
) -> Exported:
    """Write a bank as one ONNX file that answers as it does; see `inference.ExportedBank`.

    Args:
        bank: of a rule in GRAPH_RULES, of 10,000 exemplars or fewer.
        path: the file, replaced whole.
        films: real ones, on which the file is compared with torch beside noise.
        progress: called with (exemplars asked, in all).

    Raises:
        ValueError: another rule, too many exemplars, or answers too far from torch's; nothing is written then.
        ImportError: onnx is not installed.
    """
    decider = bank.exemplars.decider
    if decider.rule not in GRAPH_RULES:
        known = ", ".join(GRAPH_RULES)
        raise ValueError(f"rule {decider.rule!r} cannot be exported: build the bank with one of {known} (--rule)")
    if len(bank) > MOST_EXEMPLARS:
        raise ValueError(
            f"an exported bank measures every exemplar, {MOST_EXEMPLARS:,} at most, and this has {len(bank):,}: take "
            "fewer (bank build --n-exemplars), or the bank itself"
        )
    arrays = {
        "exemplar_vectors": bank.table.vectors,
        "exemplar_features": bank.table.features,
        "exemplar_distances": _left_out(decider, progress),
    }
    told = {
        "kind": "bank",
        "content_hash": bank.content_hash,
        "terms": bank.terms.to_json(),
        "fitted": bank.fitted.to_json(),
        "names": list(bank.table.names),
        "findings": list(bank.table.findings),
        "people": bank.exemplars.embeddings.patient_ids.tolist(),
        "looks_at_pixels": bank.exemplars.are_films,
        "facts": [list(fact) for fact in bank.facts()],
    }
    return _write(path, bank.own_encoder(), Comparison(decider), told, arrays=arrays, films=films)


def export_encoder(encoder: Encoder, path: str | Path, *, films: Sequence[str | Path] = ()) -> Exported:
    """Write an encoder as one ONNX file: from square films, uint8 (N, S, S), to pooled features and embeddings.

    Args:
        encoder: of any kind.
        path: the file, replaced whole.
        films: real ones, on which the file is compared with torch beside noise.

    Raises:
        ValueError: its embeddings are too far from torch's; nothing is written then.
        ImportError: onnx is not installed.
    """
    facts = {
        "sha256": encoder_hash(encoder),
        "recipe": encoder.recipe,
        "image_spec": encoder.image_spec.to_json(),
        "card": encoder.card,
    }
    return _write(path, encoder, None, {"kind": "encoder", "terms": {"encoder": facts}}, arrays={}, films=films)


def _left_out(decider: Decider, progress: Bar | None) -> np.ndarray:
    """Return the distances of each exemplar by the others, as if it were asked: float64 (n, n_way), NaN where none is.

    So the file answers for a film that is an exemplar as the bank does, which leaves it out and decides anew.
    """
    vectors, found = decider.support.vectors, np.full((len(decider.support), len(decider.findings)), np.nan)
    for row in range(len(vectors)):
        try:
            (told,), _ = compare_by(decider, vectors[row : row + 1], [""], n_nearest=1)
        except ValueError:  # without it fewer than two findings are left, which the bank refuses, too
            continue
        found[row] = [told.distances.get(name, np.nan) for name in decider.findings]
        tell(progress, row + 1, len(vectors))
    return found


def _write(
    path: str | Path,
    encoder: Encoder,
    comparison: Comparison | None,
    told: Mapping[str, Any],
    *,
    arrays: Mapping[str, np.ndarray],
    films: Sequence[str | Path],
) -> Exported:
    path, graph = Path(path), _Films(encoder.cpu(), comparison)
    spec = encoder.image_spec
    with eval_mode(encoder), torch.inference_mode():
        graph.eval()
        model = _traced(_at_one_size(graph), spec)
        given = [data.to_square(data.decode_film(Path(one), bit_depth=spec.bit_depth).gray, spec) for one in films]
        asked = [self_test_films(spec.size_px), *([np.stack(given)] if given else [])]
        expected = [[one.numpy() for one in graph(torch.from_numpy(some))] for some in asked]
    check = expected[0][1][0].astype(float).tolist()
    head = {"format_version": FORMAT_VERSION, "version": __version__, "check": check, **told}
    head["arrays"] = {name: array_hash(values) for name, values in arrays.items()}
    content = _with_facts(model, json.dumps(head, allow_nan=False), arrays)
    session = open_session(content)
    names = list(OUTPUTS[: len(expected[0])])
    pairs = [(session.run(names, {FILMS: some}), of) for some, of in zip(asked, expected, strict=True)]
    found = {name: tuple(_gap(own[at], of[at]) for own, of in pairs) for at, name in enumerate(names)}
    if worst := {name: max(gaps) for name, gaps in found.items() if not max(gaps) <= MOST_DIFFERENT}:
        far = ", ".join(f"{name} {gap:.1e}" for name, gap in worst.items())
        raise ValueError(f"the file would answer otherwise than torch (in parts of the largest number: {far})")
    with only_writer(path, is_folder=False):
        write_bytes(path, content)
    return Exported(path, len(content), found, len(given))


def _gap(own: np.ndarray, of: np.ndarray) -> float:
    return float(np.abs(own - of).max() / max(float(np.abs(of).max()), 1e-12))


def _at_one_size(graph: _Films) -> _Films:
    """Return it with position embeddings that are interpolated now: torch 2.10 exports the interpolation 1e-3 off."""
    if not getattr(graph.encoder.backbone, "dynamic_img_size", False):
        return graph
    graph = copy.deepcopy(graph)
    backbone: Any = graph.encoder.backbone
    backbone.set_input_size(img_size=(graph.encoder.image_spec.size_px,) * 2)
    return graph


def _traced(graph: nn.Module, spec: ImageSpec) -> Any:
    try:
        import onnx  # noqa: F401  # torch's exporter asks for both when it runs, in an error of many lines
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(_LACKS) from error
    films = torch.zeros((2, spec.size_px, spec.size_px), dtype=torch.uint8)
    n_outputs = 2 if graph.comparison is None else 4
    with warnings.catch_warnings(action="ignore"):  # of torch about its own exporter; what counts is compared below
        made = torch.onnx.export(
            graph,
            (films,),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=[FILMS],
            output_names=list(OUTPUTS[:n_outputs]),
            dynamic_shapes=({0: torch.export.Dim("films", min=1)},),
        )
    assert made is not None
    return made.model_proto


def _with_facts(model: Any, head: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a model with metadata, and with arrays as outputs that hang on no input."""
    import onnx

    for name, values in arrays.items():
        assert name in CONSTANTS
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(values), f"{name}_values")
        model.graph.initializer.append(tensor)
        model.graph.node.append(onnx.helper.make_node("Identity", [tensor.name], [name]))
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, values.shape))
    for node in (*model.graph.node, *model.graph.value_info, *(one for of in model.functions for one in of.node)):
        del node.metadata_props[:]  # where in which file of this machine each was traced
        node.ClearField("doc_string")
    onnx.helper.set_model_props(model, {KEY: head, KEY_HASH: text_hash(head)})
    model.producer_name, model.producer_version = "fewshot_cxr", __version__
    return bytes(model.SerializeToString())
