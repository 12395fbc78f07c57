"""How many threads work changes no bit of what films are embedded as, and none of what is found among them."""

import numpy as np
import pytest
import torch
from made_encoders import settled_encoder
from made_runs import make_films

from fewshot_cxr import Embeddings, embed
from fewshot_cxr.inference.bank import NearestIndex, build_on_disk


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same_vectors_and_neighbours(tmp_path):
    films, encoder = make_films(tmp_path / "films", n_patients=6), settled_encoder("resnet9", width=16)
    drawn = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
    file, before, found = tmp_path / "drawn.safetensors", torch.get_num_threads(), []
    Embeddings(drawn, np.zeros(3000, dtype=int)).save(file)
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            vectors = embed(encoder, films, device="cpu", cache_folder=tmp_path / f"{n_threads}", progress=None).vectors
            indices = [NearestIndex(drawn, kind=kind) for kind in ("exact", "ivf")]
            indices.append(build_on_disk([file], tmp_path / f"index{n_threads}", code_bytes=4))
            found.append([vectors, *(part for index in indices for part in index.search(drawn[:40] + 0.1, 7))])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)
