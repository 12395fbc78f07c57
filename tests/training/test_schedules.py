import pytest
import torch

from fewshot_cxr.training.objective import plateau_scale, step_schedule
from fewshot_cxr.training.settings import SCHEDULES


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_serves_every_step(name):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = step_schedule(name, optimizer, n_steps=20, steps_per_epoch=2)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(0.1, rel=0.05)
    assert min(rates) >= 0
    if name == "one_cycle":
        assert rates[0] < rates[4] > rates[-1]


def test_plateau_falls_after_patience_and_a_rise_resets_it():
    assert plateau_scale([0.5, 0.6, 0.6, 0.6], factor=0.5, patience=2) == 1
    assert plateau_scale([0.5, 0.6, 0.6, 0.6, 0.6], factor=0.5, patience=2) == 0.5
    assert plateau_scale([0.6, 0.5, 0.5, 0.7, 0.5, 0.5], factor=0.5, patience=2) == 1
    assert plateau_scale([0.6] + [0.5] * 6, factor=0.5, patience=2) == 0.25
    assert plateau_scale([]) == 1


def test_unknown_schedule_is_answered_with_the_nearest():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(ValueError, match=r"unknown schedule 'onecycle' \(did you mean 'one_cycle'\?\)"):
        step_schedule("onecycle", optimizer, n_steps=1, steps_per_epoch=1)


@pytest.mark.parametrize("n_steps", range(1, 9))
def test_a_training_of_few_steps_has_a_one_cycle_too(n_steps):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = step_schedule("one_cycle", optimizer, n_steps=n_steps, steps_per_epoch=n_steps)
    rates = []
    for _ in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert all(0 < rate <= 0.1 for rate in rates)
