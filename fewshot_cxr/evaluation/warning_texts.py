"""What a reader must know before believing a number: baselines it does not pass, findings that a source gives away."""

from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.metrics import Estimate, cramers_v, cross_table

MUCH_ASSOCIATED = 0.3  # Cramer's V of finding and source
_BY_CHANCE = 0.01
_NO_SOURCE = "films without a source"
_MOST_NAMED = 6
_ANSWERS = {"majority": "always the commonest finding", "chance": "guessing"}  # baselines that look at no film
OVERLAP = "PATIENT OVERLAP ALLOWED: support and query may share patients; this measures the leak, and nothing else"
TRAINED_ON = "TRAINING FILMS ALLOWED"  # so begins the warning of a result on them


def baseline_warning(name: str, gap: Estimate, number: str = "accuracy") -> str:
    """Say that an accuracy is not above a baseline, or not shown to be, or '' where it is above.

    Args:
        name: of the baseline.
        gap: accuracy less that of the baseline, paired.
        number: what it is called.

    Examples:
        >>> baseline_warning("pixels", Estimate(0.02, ci95_patients=(-0.01, 0.05)))
        'accuracy is not shown to be above what pixels alone would reach (+2.0 points, -1.0 to +5.0)'
    """
    if gap.mean is None or gap.ci95 is None or gap.ci95[0] > 0:
        return ""
    name, (low, high) = _ANSWERS.get(name, name), gap.ci95
    points = f"{100 * gap.mean:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
    if high < 0:
        return f"{number} is below what {name} alone would reach ({points})"
    return f"{number} is not shown to be above what {name} alone would reach ({points})"


def sources_apart(films: Embeddings, where: str = "") -> str:
    """Warn where the source tells much of the finding; '' where it does not.

    That is: findings that share no source with any other; sources of one finding alone, or a corrected Cramer's V of
    0.3 or more, unless so few patients have that once in a hundred times by chance.

    Args:
        films: with their sources.
        where: which films these are, such as "in the support"; '': those that are judged.

    Examples:
        >>> films = Embeddings(np.ones((4, 1)), ["covid19"] * 2 + ["normal"] * 2, sources=["lyon"] * 2 + ["oslo"] * 2)
        >>> sources_apart(films).partition(", Cramer")[0]
        'finding and source are confounded: covid19 only from lyon, normal only from oslo'
    """
    if films.sources is None or films.is_multi_label:
        return ""
    names = [films.class_names[class_id] for class_id in films.class_ids.tolist()]
    # A patient counts once: films of one patient mostly come from one hospital and show one finding.
    seen = set(zip(films.patient_ids.tolist(), names, films.sources, strict=True))
    pairs = [(name, source or _NO_SOURCE) for _, name, source in seen]
    if min(len(set(side)) for side in zip(*pairs, strict=True)) < 2:
        return ""
    counts, told = cross_table(*zip(*pairs, strict=True)), []
    shown = {name: [source for source, n in row.items() if n] for name, row in counts.items()}
    for name, own in shown.items():
        if not any(set(own) & set(others) for other, others in shown.items() if other != name):
            told.append(f"{name} only from {' and '.join(own)}")
    for source in sorted({source for _, source in pairs}):
        first, *others = (name for name, own in shown.items() if source in own)
        n_patients, share = counts[first][source], sum(counts[first].values()) / len(pairs)
        if not others and share**n_patients < _BY_CHANCE and shown[first] != [source]:
            told.append(f"{source} has {first} alone ({n_patients:,} patients)")
    table = np.array([list(row.values()) for row in counts.values()])
    strength, degrees = cramers_v(table, is_corrected=True), (table.shape[0] - 1) * (table.shape[1] - 1)
    chi_squared = table.sum() * (min(table.shape) - 1) * cramers_v(table) ** 2
    is_chance = chdtrc(degrees, chi_squared) >= _BY_CHANCE
    if not told and (strength < MUCH_ASSOCIATED or is_chance):
        return ""
    told[_MOST_NAMED:] = [f"{len(told) - _MOST_NAMED} more such"] if len(told) > _MOST_NAMED else []
    told.append(f"Cramer's V {strength:.2f} over {len(pairs):,} patients, of which {MUCH_ASSOCIATED} is much")
    place = f" {where}" if where else ""
    end = "a high accuracy may tell sources apart, not findings"
    return f"finding and source are confounded{place}: {', '.join(told)}; {end}"


def one_sided(findings: Sequence[str], truth: np.ndarray) -> list[str]:
    """Warn of findings that every film shows: some of their numbers are settled by that.

    Args:
        findings: names of the columns.
        truth: 1 shown, 0 not shown, NaN not stated, shape (N, n_findings).
    """
    every = [
        name for name, column in zip(findings, truth.T, strict=True) if (column == 1).any() and not (column == 0).any()
    ]
    return [
        f"every film shows {name}: its PPV is 100 % whatever is answered, and its specificity, NPV and AUROC say "
        "nothing; add films without it"
        for name in every
    ]
