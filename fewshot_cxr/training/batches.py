"""Which sampler makes the batches of a metric loss."""

from fewshot_cxr._checks import lookup
from fewshot_cxr.data import XrayDataset
from fewshot_cxr.samplers import BalancedBatchSampler, ClassBatchSampler, EpisodicBatchSampler, PairBatchSampler
from fewshot_cxr.training.loaders import BatchSampler

SAMPLERS = ("balanced", "pairs", "episodic", "shuffled")


def choose_sampler(
    name: str,
    dataset: XrayDataset,
    *,
    batch_size: int,
    n_batches: int | None,
    n_way: int | None,
    n_shot: int,
    seed: int,
) -> BatchSampler:
    """Build a sampler over the training films.

    Args:
        name: in SAMPLERS.
        dataset: single-label.
        batch_size, n_batches: films in a batch, and batches in an epoch (None: about as many as cover all films once).
        n_way, n_shot: of an episodic batch; None: all findings. The films left over are queries, the same for each.
        seed: of all draws.

    Raises:
        ValueError: unknown name, or a batch too small for its episodes; what the samplers say.
    """
    lookup(dict.fromkeys(SAMPLERS), name, what="sampler")
    class_ids, group_ids = dataset.class_ids, dataset.group_ids
    if name == "balanced":
        return BalancedBatchSampler(class_ids, group_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    if name == "pairs":
        return PairBatchSampler(class_ids, group_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    if name == "shuffled":
        return ClassBatchSampler(class_ids, batch_size=batch_size, n_batches=n_batches, seed=seed)
    ways = len(dataset.class_names) if n_way is None else n_way
    n_query = batch_size // ways - n_shot
    if n_query < 1:
        raise ValueError(
            f"batch_size {batch_size} leaves no query in {ways}-way {n_shot}-shot batches; "
            f"make it {ways * (n_shot + 1)} or more (--batch-size)"
        )
    try:
        return EpisodicBatchSampler(
            class_ids,
            group_ids,
            dataset.class_names,
            n_way=ways,
            n_shot=n_shot,
            n_query=n_query,
            n_batches=max(1, round(len(class_ids) / batch_size)) if n_batches is None else n_batches,
            seed=seed,
        )
    except ValueError as error:  # it names settings of evaluation
        reason = str(error).partition(";")[0]
        raise ValueError(f"{reason}: take smaller batches (--batch-size) or fewer shots (--n-shot)") from error
