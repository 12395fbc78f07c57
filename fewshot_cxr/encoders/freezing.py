"""Which weights of a network make a layer, from the stem on, and what it takes to hold some of them still."""

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def group_by_layer(network: nn.Module) -> list[list[nn.Parameter]]:
    """Divide the parameters of a network, each in one group, into stem, stages (of a transformer: blocks) and the rest.

    A network of timm says itself how it is to be divided; of any other, each child is a group.
    """
    matcher = getattr(network, "group_matcher", None)
    if matcher is not None:
        from timm.models import group_parameters

        groups = group_parameters(network, matcher(coarse=True), return_values=True)
        return [groups[number] for number in sorted(groups)]
    own = list(network.parameters(recurse=False))
    return [group for group in (own, *(list(child.parameters()) for child in network.children())) if group]


def hold_batch_norms(network: nn.Module, frozen: Iterable[nn.Parameter]) -> None:
    """Switch each batch normalisation whose weights are `frozen` to eval mode: it keeps the statistics it has."""
    held = {id(weight) for weight in frozen}
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and id(layer.weight) in held:
            layer.eval()
