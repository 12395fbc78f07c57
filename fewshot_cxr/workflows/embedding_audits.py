"""What an encoder's embedding tells of films, from films to the audit of the embedding."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.evaluation import EmbeddingAudit, assess_embedding
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.weights_seen import find_training_films


def audit_embedding(checkpoint: Path, films: Records, *, seed: int = 0, compute: Compute) -> EmbeddingAudit:
    """Embed films that an encoder was not trained on, and measure what the embedding tells of them.

    Args:
        checkpoint: run folder or file of the encoder.
        films: of any findings.
        seed: of folds and resampling.
        compute: where it is done.

    Raises:
        ValueError: the encoder was trained on all of the films.
    """
    encoder = load_encoder(checkpoint)
    decoded = compute.decode(films, encoder.image_spec, "films for the encoder")
    trained = np.array(find_training_films(encoder.card, checkpoint, decoded), dtype=bool)
    if trained.all():
        raise ValueError(
            f"the encoder was trained on all {len(trained):,} films, and may remember what they are; audit others"
        )
    if trained.any():
        others = decoded.records.take(np.flatnonzero(~trained).tolist())
        decoded = compute.decode(others, encoder.image_spec, "films not trained on")
    vectors = compute.embed(encoder, decoded, is_multi_label=True).vectors
    found = assess_embedding(vectors, decoded.records, n_training_films=int(trained.sum()), seed=seed)
    # Not the whole path, which may name a person or a machine.
    return replace(found, encoder=(checkpoint if checkpoint.is_dir() else checkpoint.parent).resolve().name)
