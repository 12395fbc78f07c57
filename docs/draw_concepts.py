"""Draw the pictures of concepts.md: an episode, its embedding, and the two intervals, all of synthetic films.

python docs/draw_concepts.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure

from fewshot_cxr import Embeddings, Episodes, evaluate_episodes
from fewshot_cxr.data import read_gray
from fewshot_cxr.data.synthetic import make_synthetic

HERE = Path(__file__).parent / "images"
SIDES = {"support": "#0072b2", "query": "#d55e00"}
N_SHOT, N_QUERY = 2, 2


def draw_episode(folder: Path) -> None:
    films = make_synthetic(folder, n_patients=8, findings=("normal", "effusion", "lobar_consolidation"), seed=0)
    named = Embeddings(
        np.zeros((len(films), 1)),
        [film.finding for film in films],
        [film.patient_id for film in films],
        paths=[film.path for film in films],
    )
    block = next(Episodes.draw(named, n_shot=N_SHOT, n_query=N_QUERY, n_episodes=1, seed=0).blocks())
    figure = Figure(figsize=(7.2, 8.2), layout="constrained")
    axes = figure.subplots(N_SHOT + N_QUERY, 3)
    for side, first, count in (("support", 0, N_SHOT), ("query", N_SHOT, N_QUERY)):
        rows = getattr(block, side).reshape(3, count)
        for way in range(3):
            for place in range(count):
                film, axis = films[int(rows[way, place])], axes[first + place, way]
                axis.imshow(read_gray(films.file(film)), cmap="gray")
                axis.set(xticks=[], yticks=[], xlabel=f"patient {film.patient_id}")
                for spine in axis.spines.values():
                    spine.set(color=SIDES[side], linewidth=4)
                if first + place == 0:
                    axis.set_title(film.finding)
                if way == 0 and place == 0:
                    axis.set_ylabel(side, color=SIDES[side], fontsize=14)
    figure.suptitle("One episode: 3-way, 2-shot, 2 queries a finding; no patient on both sides")
    figure.savefig(HERE / "episode.png", dpi=80)


def draw_prototypes() -> None:
    draw = np.random.default_rng(1)
    centres = np.array([[0, 0], [3, 0.6], [1.2, 2.6]])
    figure = Figure(figsize=(6, 4.6), layout="constrained")
    axis = figure.subplots()
    colours = {"normal": "#0072b2", "effusion": "#d55e00", "new": "#555f6b"}
    for centre, (name, colour) in zip(centres, colours.items(), strict=True):
        support = centre + 0.55 * draw.normal(size=(5, 2))
        axis.scatter(*support.T, color=colour, s=40, label=f"{name}: five exemplars")
        axis.scatter(*support.mean(axis=0), color=colour, marker="X", s=220, edgecolor="white", zorder=3)
    axis.scatter(1.5, 1.8, color="black", marker="*", s=260, label="the film that is asked")
    axis.set(xticks=[], yticks=[], title="Prototypes (crosses): the film gets the nearest one's finding")
    axis.legend(loc="lower right", fontsize=9)
    figure.savefig(HERE / "prototypes.png", dpi=80)


def draw_intervals() -> None:
    draw = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 2)
    own = draw.normal(size=(60, 16))[patient]  # what makes a patient's films look alike
    vectors = 1.6 * np.eye(3, 16)[patient % 3] + own + draw.normal(size=(120, 16))
    films = Embeddings(
        vectors, np.array(["a", "b", "c"])[patient % 3], patient, paths=[f"{row}.png" for row in range(120)]
    )
    counts = (100, 300, 1_000, 3_000, 10_000)
    found = [
        evaluate_episodes(films, n_shot=5, n_query=5, n_episodes=count, rule="prototype", progress=None).accuracy
        for count in counts
    ]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    kinds = {
        "ci95_patients": (-0.06, "#0072b2", "over patients: with others of the same kind"),
        "ci95_episodes": (0.06, "#d55e00", "over episodes: on these very films"),
    }
    means = np.array([one.mean for one in found])
    for kind, (shift, colour, words) in kinds.items():
        low, high = np.array([getattr(one, kind) for one in found]).T
        places, spread = np.arange(len(counts)) + shift, (means - low, high - means)
        axis.errorbar(places, means, spread, fmt="o", color=colour, capsize=4, label=words)
    axis.set(xticks=range(len(counts)), xticklabels=[f"{count:,}" for count in counts])
    axis.set(xlabel="episodes", ylabel="accuracy", ylim=(0.4, 0.75))
    axis.set_title("60 patients: more episodes do not make more patients")
    axis.legend()
    figure.savefig(HERE / "intervals.png", dpi=80)


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        draw_episode(Path(place))
    draw_prototypes()
    draw_intervals()
