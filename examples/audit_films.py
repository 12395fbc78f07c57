# %% [markdown]
# # Can these films carry a study?
# Copies, patients on two sides, findings that follow from the hospital: what ruins a study is looked for before any
# training.

# %%
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from fewshot_cxr import ImageSpec, build_encoder, embed, split_by_patient
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import assess_embedding, audit_films
from fewshot_cxr.records import Records
from fewshot_cxr.visualise import class_counts_figure

films = make_synthetic(Path(mkdtemp()) / "films", n_patients=12, findings=("normal", "effusion"), size_px=96, seed=0)
parts = split_by_patient(films, (0.6, 0.2, 0.2), seed=0)
films = Records(tuple(film for part in parts for film in part), films.root)
films

# %%
class_counts_figure({name: films.of_split(name).count_findings() for name in ("train", "val", "test")})

# %% [markdown]
# ## As they are

# %%
audit = audit_films(films, progress=None)
audit

# %% [markdown]
# ## With two faults put in
# A film of a training patient in test, and every effusion from one hospital.

# %%
strayed = replace(films[1], split="test")
rest = tuple(film if film.finding == "normal" else replace(film, source="hospital_z") for film in films[2:])
faulty = audit_films(Records((films[0], strayed, *rest), films.root), progress=None)
print("failed:", *faulty.failed())
before, after = (one.confounding.cramers_v.corrected for one in (audit, faulty))
print(f"Cramer's V of finding and source {before:.2f}, with the faults {after:.2f}")
faulty

# %% [markdown]
# ## Is it the disease, or the hospital?
# How well an embedding tells source and view, beside the finding.

# %%
embeddings = embed(build_encoder("resnet9", image_spec=ImageSpec(size_px=64), width=8), films, progress=None)
found = assess_embedding(embeddings.vectors, films)
print(found.first_line)
for name, measure in found.tells.items():
    number = measure.number
    print(name, number.reason if number.mean is None else f"{number.mean:.2f} (chance {measure.chance:.2f})")
