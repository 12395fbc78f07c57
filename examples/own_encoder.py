# %% [markdown]
# # An encoder of your own
# Any module of torch whose output is the embedding, (N, dim), is trained, kept and measured as a built-in one.

# %%
from pathlib import Path
from tempfile import mkdtemp

from torch import nn

from fewshot_cxr import ImageSpec, SiameseTrainer, embed, evaluate_episodes, load_encoder, split_by_patient
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.visualise import learning_curves_figure, project, projection_figure

folder = Path(mkdtemp())
films = make_synthetic(folder / "films", n_patients=16, findings=("normal", "effusion", "cardiomegaly"), seed=0)
train, val, test = split_by_patient(films, (0.5, 0.2, 0.3), seed=0)


def block(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2))


net = nn.Sequential(block(1, 16), block(16, 32), block(32, 32), nn.AdaptiveAvgPool2d(3), nn.Flatten())

# %% [markdown]
# ## Train it
# It is copied, and the copy is trained: triplets, the hardest within each batch, spread evenly over patients.

# %%
spec = ImageSpec(size_px=48)
trainer = SiameseTrainer(encoder=net, image_spec=spec, loss="triplet", miner="semihard", n_epochs=6, batch_size=24)
trained = trainer.fit(train, val, out=folder / "run", progress=None)
learning_curves_figure(trained.history, best_epoch=trained.card["best_epoch"])

# %% [markdown]
# ## Take it up again
# The run folder holds class and weights, not how the network is built; nothing is unpickled.

# %%
encoder = load_encoder(folder / "run", module=net)
embeddings = embed(encoder, test, progress=None)
embeddings

# %%
evaluate_episodes(embeddings, n_shot=2, n_query=3, n_episodes=500, rule="prototype", seed=0, progress=None)

# %%
names = [embeddings.class_names[class_id] for class_id in embeddings.class_ids]
projection_figure(project(embeddings.vectors, method="pca"), names, title="Test films, by their embedding")
