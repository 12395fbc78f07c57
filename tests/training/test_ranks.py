"""Several processes train one encoder: the same numbers as one process that sees the batches of all."""

import csv
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import FSCXR, run
from made_runs import make_films, start_process, train_rank
from torch import nn

from fewshot_cxr import ImageSpec
from fewshot_cxr._ranks import Ranks, ranks_here
from fewshot_cxr.storage import load_plain_tensors
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer, classifier, siamese
from fewshot_cxr.training.objective import schedule_state, step_schedule

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_NODES": "2"}


@pytest.mark.parametrize(("variables", "is_torchrun"), [(TORCHRUN, True), (SLURM, False)])
def test_the_environment_says_which_rank_it_is(variables, is_torchrun, monkeypatch):
    assert ranks_here() == Ranks()
    assert (Ranks().is_first, Ranks().key) == (True, ())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ranks = ranks_here()
    assert ranks == Ranks(3, 4, 1, 2, is_torchrun)
    assert (ranks.n_nodes, ranks.is_first, ranks.key) == (2, False, ("rank", 3))
    monkeypatch.setenv(next(iter(variables)), "4")
    with pytest.raises(ValueError, match="do not go together: start as many processes on each machine"):
        ranks_here()
    monkeypatch.setenv(next(iter(variables)), "x")
    with pytest.raises(ValueError, match="are no numbers: start the processes by torchrun or srun"):
        ranks_here()


def test_a_shell_that_slurm_gave_is_one_process(monkeypatch):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_NNODES": "2"}.items():
        monkeypatch.setenv(name, value)
    assert ranks_here() == Ranks()


@pytest.mark.parametrize("name", ["one_cycle", "warm_restarts", "constant"])
@pytest.mark.parametrize("n_steps", [1, 7, 36])
def test_a_schedule_is_moved_to_where_its_steps_would_have_brought_it(name, n_steps):
    def fresh():
        optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2))], lr=0.1)
        return optimizer, step_schedule(name, optimizer, n_steps=40, steps_per_epoch=2)

    (stepped, schedule), (moved, other) = fresh(), fresh()
    for _ in range(n_steps):
        stepped.step()
        schedule.step()
    state = schedule_state(other, n_steps)
    assert moved.param_groups[0]["lr"] == pytest.approx(stepped.param_groups[0]["lr"], rel=1e-12)
    assert moved.param_groups[0]["betas"] == pytest.approx(stepped.param_groups[0]["betas"], rel=1e-12)
    again, restored = fresh()
    restored.load_state_dict(state)
    again.param_groups[0] |= {key: value for key, value in moved.param_groups[0].items() if key != "params"}
    for optimizer, one in ((stepped, schedule), (again, restored)):
        optimizer.step()
        one.step()
    assert again.param_groups[0]["lr"] == pytest.approx(stepped.param_groups[0]["lr"], rel=1e-12)


def network():
    """Without batch norm, which on processors sees the films of its own rank alone.

    And without a last bias: no distance sees it, so that its gradient is rounding, of which Adam makes whole steps.
    """
    torch.manual_seed(0)
    first = nn.Conv2d(1, 8, 5, 4), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*first, nn.Linear(32, 6, bias=False))


def mirrored(image):
    return image.flip(-1)


class Joined:
    """The batches of two ranks as one: what the ranks' gradients have to add up to."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __len__(self):
        return len(self.sampler) // 2

    def __iter__(self):
        batches = list(self.sampler)
        yield from (batches[2 * step] + batches[2 * step + 1] for step in range(len(self)))


def trainers():
    same = {"encoder": network(), "image_spec": ImageSpec(size_px=32), "n_epochs": 2, "batch_size": 12}
    same |= {"device": "cpu", "precision": "32-true", "augmentation": None}
    siamese = same | {"val_n_shot": 2, "val_n_query": 2, "val_n_episodes": 20}
    return {
        "a memory and a miner": SiameseTrainer(**siamese, loss="triplet", distance="euclidean", memory=30),
        "proxies": SiameseTrainer(**siamese, loss="proxy_anchor"),
        "two views": SiameseTrainer(**siamese | {"augmentation": mirrored}, aux="simclr"),
        "pairs": SiameseTrainer(**siamese, loss="pair_bce", distance="l1"),
        "weighted classes": ClassifierTrainer(**same, class_weights="inverse"),  # its last batch is smaller
    }


@pytest.mark.slow
def test_two_ranks_train_as_one_process_with_their_batches_joined(tmp_path, monkeypatch):
    films = make_films(tmp_path / "films")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [start_process(train_rank, rank, 2, port, films, tmp_path, trainers()) for rank in range(2)]
    for rank in ranks:
        rank.join(300)
        assert rank.exitcode == 0
    for module, name in ((siamese, "choose_sampler"), (classifier, "ClassBatchSampler")):
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, _plain=plain, **given: Joined(_plain(*args, **given)))
    for name, trainer in trainers().items():
        alone = trainer.fit(films, progress=None)
        with (tmp_path / name / "history.csv").open() as file:
            history = list(csv.DictReader(file))
        if name != "pairs":  # there the joined batch has other pairs
            losses = [row["loss"] for row in alone.history]
            assert [float(row["loss"]) for row in history] == pytest.approx(losses, rel=1e-5)
            encoder = alone.classifier.encoder if hasattr(alone, "classifier") else alone.encoder
            found = load_plain_tensors(tmp_path / name / "encoder.safetensors")
            for key, value in encoder.state_dict().items():
                torch.testing.assert_close(found[key], value, rtol=0, atol=1e-5)
        drawn = [json.loads((tmp_path / f"{name} of {rank}.json").read_text()) for rank in range(2)]
        for epoch in range(2) if name != "pairs" else ():
            rows = np.concatenate([batch for own in drawn for when, batch in own if when == epoch + 1])
            assert len(set(rows.tolist())) == len(rows) > 40  # no film twice in an epoch


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the rank to be killed in /proc")
def test_a_killed_rank_ends_the_run_which_goes_on_with_another_number_of_ranks(tmp_path):
    make_films(tmp_path / "films", n_patients=8)
    words = ["train", "siamese", "--data", str(tmp_path / "films"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    words += ["--encoder-option", "width=8", "--image-size", "32", "--batch-size", "6", "--schedule", "constant"]
    words += ["--epochs", "4000"]
    command = [*FSCXR, *words, "--devices", "2"]
    ranks = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "run" / "last.ckpt").exists():
            assert ranks.poll() is None
            time.sleep(0.1)
        os.kill(_process_of_rank(1, tmp_path), signal.SIGKILL)
        _, said = ranks.communicate(timeout=60)  # a bound of the demand, not a measurement
    finally:
        ranks.terminate()
    assert ranks.returncode == 1
    assert "was ended by SIGKILL, and with it the run: --resume goes on from" in said
    assert "Traceback" not in said
    n_done = _last(tmp_path)["n_epochs_done"]
    assert run(*words, "--resume", "--max-minutes", "0.0001") == 0  # one epoch more
    after = _last(tmp_path)
    assert (after["n_epochs_done"], after["steps_per_epoch"]) == (n_done + 1, 5)
    ended = subprocess.run([*command, "--resume", "--patience", "1"], stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 0, ended.stderr  # no epoch since the resume was better: the best is that of the folder


def _last(folder):
    return torch.load(folder / "run" / "last.ckpt", weights_only=True)["run_card"]


def _process_of_rank(rank, folder):
    for process in Path("/proc").glob("[0-9]*"):
        try:
            of_rank = f"RANK={rank}".encode() in (process / "environ").read_bytes().split(b"\0")
            if of_rank and str(folder).encode() in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:  # of another user, or gone
            continue
    raise AssertionError(f"no process of rank {rank}")
