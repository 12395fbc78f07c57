# %% [markdown]
# # A number that a reviewer can trust
# Episodes whose support and query never share a patient, two intervals, baselines, and two encoders compared in pairs.

# %%
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from fewshot_cxr import Embeddings, ImageSpec, build_encoder, embed, evaluate_episodes
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import weights_spec
from fewshot_cxr.evaluation import compare_results
from fewshot_cxr.visualise import confusion_matrix_figure

films = make_synthetic(
    Path(mkdtemp()) / "films", n_patients=16, findings=("normal", "effusion", "lobar_consolidation"), seed=0
)
asked = {"n_shot": 3, "n_query": 5, "n_episodes": 1000, "rule": "prototype", "seed": 0, "progress": None}

# %% [markdown]
# ## Two intervals
# The first is over patients: where the number would lie with others of the same kind. The second, over episodes, is the
# one that most papers print; it shrinks with more episodes, and says nothing of other patients.

# %%
spec = replace(weights_spec("efficientnet_lite0", pretrained=True), size_px=96)
embeddings = embed(
    build_encoder("efficientnet_lite0", pretrained=True, image_spec=spec, output="pooled"), films, progress=None
)
result = evaluate_episodes(embeddings, **asked)
print("over patients", result.accuracy.ci95_patients)
print("over episodes", result.accuracy.ci95_episodes)
result

# %% [markdown]
# ## What it would be without patients
# Told that each film is a patient of its own, the same embedding looks better: films of one patient look alike.

# %%
alone = Embeddings(
    embeddings.vectors,
    [embeddings.class_names[class_id] for class_id in embeddings.class_ids],
    [f"film {row}" for row in range(len(embeddings))],
    paths=embeddings.paths,
)
print(f"{result.accuracy.mean:.3f} by patient, {evaluate_episodes(alone, **asked).accuracy.mean:.3f} by film")

# %%
confusion_matrix_figure(result.confusion, result.findings, title="Queries of all episodes")

# %% [markdown]
# ## Is another encoder better?
# On identical episodes, in pairs, over patients.

# %%
random = build_encoder("resnet9", image_spec=ImageSpec(size_px=64), width=8)  # of random weights
other = evaluate_episodes(embed(random, films, progress=None), **asked)
compare_results(other, result)
