"""Averaged weights are those of a slow loop, and what is frozen stays."""

import torch
from made_encoders import settled_encoder
from torch import nn

from fewshot_cxr.training.module import Learner, MovingAverage

DECAY, N_STEPS = 0.8, 15


def test_the_average_is_that_of_a_slow_loop_and_what_is_frozen_stays():
    encoder = settled_encoder("resnet9")
    encoder.freeze(3)
    learner = Learner(encoder, nn.Linear(2, 2)).train()
    frozen = {f"encoder.{name}" for name, weight in encoder.named_parameters() if not weight.requires_grad}
    moving = [name for name, _ in learner.named_parameters() if name not in frozen]
    averaged = MovingAverage(learner, DECAY)
    before, expected = {name: weight.clone() for name, weight in learner.state_dict().items()}, {}
    draw = torch.Generator().manual_seed(0)
    for step in range(N_STEPS):
        with torch.no_grad():
            for name in moving:
                learner.get_parameter(name).add_(torch.randn(learner.get_parameter(name).shape, generator=draw))
        encoder(torch.rand(4, 1, 64, 64, generator=draw))  # norms that train take statistics
        averaged.update_parameters(learner)
        share = min(DECAY, (1 + step) / (10 + step)) if step else 0.0
        for name, value in learner.state_dict().items():
            known = expected.get(name, torch.zeros_like(value))
            expected[name] = share * known + (1 - share) * value if value.is_floating_point() else value.clone()
    found = averaged.module.state_dict()
    assert frozen
    assert moving
    assert all(averaged.module.get_parameter(name) is learner.get_parameter(name) for name in frozen)
    for name, value in found.items():
        held = before[name] if name in frozen else expected[name]
        torch.testing.assert_close(value, held, rtol=1e-4, atol=1e-5)
