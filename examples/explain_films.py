# %% [markdown]
# # Where does it look?
# Heat maps of one question, a number beside the picture, and a map of the embedding. None of them proves that the
# disease was recognised.

# %%
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import torch

from fewshot_cxr import SiameseTrainer, embed, split_by_patient
from fewshot_cxr.data import cache_films, lung_masks, scale_films, standardise
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import weights_spec
from fewshot_cxr.explain import Difference, PrototypeSimilarity, area_shares, focus_shares, heat_maps
from fewshot_cxr.visualise import heat_figure, project, projection_figure

films = make_synthetic(Path(mkdtemp()) / "films", n_patients=16, findings=("normal", "effusion"), seed=0)
train, val, test = split_by_patient(films, (0.5, 0.2, 0.3), seed=0)
spec = replace(weights_spec("efficientnet_lite0", pretrained=True), size_px=192)
trainer = SiameseTrainer(encoder="efficientnet_lite0", encoder_options={"pretrained": True}, image_spec=spec, keep=1.0)
encoder = trainer.fit(train, val, progress=None).encoder
test

# %% [markdown]
# ## Why effusion, rather than normal?
# The question must be chosen: what makes a film like the exemplars of one finding makes it like any chest film, so that
# the difference of the two is asked for.

# %%
support = embed(encoder, train, progress=None)
vectors = torch.from_numpy(support.vectors)
of = {name: vectors[support.class_ids == class_id] for class_id, name in enumerate(support.class_names)}
why = Difference(PrototypeSimilarity(of["effusion"]), PrototypeSimilarity(of["normal"]))

shown = test.where(lambda film: film.finding == "effusion")[:2]
pixels = cache_films(shown, spec).rows([0, 1])
images = standardise(scale_films(torch.from_numpy(pixels)), spec)
heat = heat_maps(encoder, images, why)
lungs = lung_masks(shown, spec).rows([0, 1]).astype(bool)
heat_figure(pixels[0], heat[0], title=f"{shown[0].path}: why effusion", lungs=lungs[0])

# %% [markdown]
# ## The number beside the picture
# Which share of the heat lies in the lungs, at the border, in the corners where markers stand; and of a flat map.

# %%
for name, shares in focus_shares(heat, lungs).items():
    print(f"{name:8s} {shares.round(2)}, flat {area_shares(heat.shape, lungs)[name].round(2)}")

# %% [markdown]
# ## The embedding on a plane

# %%
embeddings = embed(encoder, test, progress=None)
names = [embeddings.class_names[class_id] for class_id in embeddings.class_ids]
projection_figure(project(embeddings.vectors, method="pca"), names, title="Test films")
