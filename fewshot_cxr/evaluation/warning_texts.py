"""What a reader must know before believing a number: baselines it does not pass, findings that a source gives away."""

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.metrics import Estimate

OVERLAP = "PATIENT OVERLAP ALLOWED: support and query may share patients; this measures the leak, and nothing else"
TRAINED_ON = "TRAINING FILMS ALLOWED"  # so begins the warning of a result on them


def baseline_warning(name: str, gap: Estimate) -> str:
    """Say that an accuracy is not above a baseline, or not shown to be, or '' where it is above.

    Args:
        name: of the baseline.
        gap: accuracy less that of the baseline, paired.
    """
    if gap.mean is None or gap.ci95 is None or gap.ci95[0] > 0:
        return ""
    low, high = gap.ci95
    points = f"{100 * gap.mean:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
    if high < 0:
        return f"accuracy is below what {name} alone would reach ({points})"
    return f"accuracy is not shown to be above what {name} alone would reach ({points})"


def sources_apart(films: Embeddings) -> str:
    """Warn of findings that share no source with any other; '' where none stands alone."""
    if films.sources is None or films.is_multi_label:
        return ""
    names = films.class_names
    found: dict[str, set[str]] = {}
    for class_id, source in zip(films.class_ids.tolist(), films.sources, strict=True):
        found.setdefault(names[class_id], set()).add(source)
    alone = [
        name
        for name, own in found.items()
        if own != {""} and not any(own & others for other, others in found.items() if other != name)
    ]
    told = ", ".join(f"{name} only from {' and '.join(sorted(found[name]))}" for name in alone)
    if not told or len(found) < 2:
        return ""
    return f"finding and source are confounded: {told}; a high accuracy may tell sources apart, not findings"
