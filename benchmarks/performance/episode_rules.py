"""Rules that fit something to each episode: ours over blocks of episodes, scikit-learn and easyfsl one by one.

    python benchmarks/performance/episode_rules.py [--device cuda] [--json FILE] [--smoke]

1,000 episodes, 5-way 5-shot 15-query out of 20 classes, 12,000 embeddings of 128. Ours is timed with planning and every
number and its interval; of the others some of the very same episodes, and nothing but the fit and the answers. The last
rows: what it costs to choose a penalty inside each support.
"""

from collections.abc import Callable

import torch
from episodes import NOT_INSTALLED, SHAPE, judged, make_films
from question import Answer, Mark, ratio, seconds_in_turn, settings, tell
from sklearn.linear_model import LogisticRegression

from fewshot_cxr.episodes import EpisodePart, Episodes
from fewshot_cxr.inference.penalties import AUTO, PENALTIES

try:
    from easyfsl.methods import BDCSPN, PTMAP, TIM, LaplacianShot
except ImportError:
    BDCSPN = PTMAP = TIM = LaplacianShot = None

THEIRS = {"bd_cspn": BDCSPN, "laplacian_shot": LaplacianShot, "pt_map": PTMAP, "tim": TIM}
AT_LEAST = 5
HEADS = ("rule", "ours, episodes/s", "beside", "its episodes/s", "ratio")


def by_scikit_learn(vectors: torch.Tensor, part: EpisodePart) -> None:
    """Fit and ask one episode after the other."""
    table = vectors.cpu().numpy()
    for support, query in zip(part.support, part.query, strict=True):
        LogisticRegression(C=1.0, max_iter=1000).fit(table[support], part.support_labels).predict_proba(table[query])


def by_easyfsl(method: type, vectors: torch.Tensor, part: EpisodePart) -> None:
    """Ask easyfsl's method, made anew for each episode, as its `evaluate` settles it anew."""
    labels = torch.from_numpy(part.support_labels).to(vectors.device)
    model = method(feature_normalization=2.0).to(vectors.device)
    for support, query in zip(part.support, part.query, strict=True):
        model.process_support_set(vectors[support], labels)
        model(vectors[query])


def main() -> None:
    """Measure, and tell."""
    arguments = settings(__doc__).parse_args()
    n_episodes, n_theirs, n_repeats = (40, 2, 1) if arguments.smoke else (1000, 30, 3)
    films, device = make_films(20), arguments.device
    (part,) = Episodes.draw(films, n_episodes=n_theirs, **SHAPE).block(0, n_theirs).parts()
    vectors = torch.from_numpy(films.vectors).to(device)
    peers: dict[str, tuple[str, Callable[[], None]]] = {
        "linear_probe": ("scikit-learn", lambda: by_scikit_learn(vectors, part))
    }
    for rule, method in THEIRS.items():
        peers[rule] = ("easyfsl", lambda method=method: method and by_easyfsl(method, vectors, part))
    rows, marks = [], []
    for rule, (name, theirs) in peers.items():
        works = {"ours": lambda rule=rule: judged(films, rule, n_episodes, device), name: theirs}
        seconds = seconds_in_turn(works, n_repeats, device)
        speed = n_episodes / sorted(seconds["ours"])[n_repeats // 2]
        if name == "easyfsl" and TIM is None:
            rows.append((f"`{rule}`", f"{speed:,.0f}", name, NOT_INSTALLED, "-"))
            continue
        times = ratio(seconds[name], seconds["ours"]) * n_episodes / n_theirs
        theirs_speed = n_theirs / sorted(seconds[name])[n_repeats // 2]
        rows.append((f"`{rule}`", f"{speed:,.0f}", name, f"{theirs_speed:,.0f}", f"{times:.1f}"))
        marks.append(Mark(f"{rule}, times {name}", times, AT_LEAST))
    n_settled = n_theirs if arguments.smoke else n_episodes
    for rule in PENALTIES:
        options = {"chosen": {"penalty": AUTO}, "fixed": {}}
        works = {
            name: lambda rule=rule, own=own: judged(films, rule, n_settled, device, rule_options=own)
            for name, own in options.items()
        }
        seconds = seconds_in_turn(works, 1, device, warm_up=0)  # a minute
        own, other = (f"{n_settled / seconds[name][0]:,.0f}" for name in options)
        times = ratio(seconds["fixed"], seconds["chosen"])
        rows.append((f"`{rule}`, penalty chosen", own, "a fixed penalty", other, f"{times:.2f}"))
    note = (
        f"{n_episodes:,} episodes of ours with every number, {n_theirs} of the others' fit and answers alone; "
        f"{torch.get_num_threads()} threads, medians of {n_repeats} turns, of the last rows one."
    )
    tell(Answer("Rules that fit something to each episode", HEADS, rows, marks, note), arguments.json)


if __name__ == "__main__":
    main()
