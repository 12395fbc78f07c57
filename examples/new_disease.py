# %% [markdown]
# # A new disease from five films
# A published encoder, what the known findings teach, five films of the new one, an answer with its exemplars.
# The films are synthetic; yours come from `read_dataset("image_folder", "films")` or a CSV.

# %%
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from fewshot_cxr import SiameseTrainer, SupportBank, split_by_patient
from fewshot_cxr.data import read_gray
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import weights_spec
from fewshot_cxr.visualise import NeighbourRow, neighbours_figure

NEW = "peripheral_ground_glass"
films = make_synthetic(Path(mkdtemp()) / "films", n_patients=25, seed=0)
films

# %% [markdown]
# ## Teach what is known
# No patient is on both sides. Of the new disease nothing is taught.

# %%
train, val, test = split_by_patient(films, (0.5, 0.2, 0.3), seed=0)
trainer = SiameseTrainer(
    encoder="efficientnet_lite0",
    encoder_options={"pretrained": True},
    image_spec=replace(weights_spec("efficientnet_lite0", pretrained=True), size_px=96),
    keep=1.0,
)
known = [part.where(lambda film: film.finding != NEW) for part in (train, val)]
trained = trainer.fit(*known, progress=None)
print(*trained.notes, sep="\n")

# %% [markdown]
# ## A bank of the known findings, and five films of the new one

# %%
five = train.where(lambda film: film.finding == NEW)[:5]
bank = SupportBank.build(trained.encoder, known[0], seed=0).add(NEW, five)
bank

# %% [markdown]
# ## Ask about films of patients whom nothing has met
# An answer names its exemplars, or says why there is none.

# %%
asked = [next(film for film in test if film.finding == finding) for finding in (NEW, "effusion")]
answers = [bank.predict(test.file(film), never_abstain=True) for film in asked]
for film, answer in zip(asked, answers, strict=True):
    print(f"{film.path}: {answer.finding}, {answer.reason or 'no reason to abstain'}")

# %%
rows = [
    NeighbourRow(
        read_gray(test.file(film)),
        film.path,
        film.finding,
        [(read_gray(films.root / one.path), one.finding, one.distance) for one in answer.exemplars],
    )
    for film, answer in zip(asked, answers, strict=True)
]
neighbours_figure(rows, title="Each film, and the exemplars nearest to it")
