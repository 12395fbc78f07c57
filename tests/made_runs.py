"""Films whose findings show, and runs in processes of their own that may be killed."""

import json
import multiprocessing
import os

import numpy as np
import torch
from PIL import Image

from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.records import Record, Records
from fewshot_cxr.samplers import RankSampler
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer

# Each process is forked from one that has imported the trainers and done nothing else: imports take longer than a run.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["fewshot_cxr.training.siamese", "fewshot_cxr.training.classifier"])


def make_films(folder, n_patients=16, findings=("bright", "dark", "striped")):
    draw = np.random.default_rng(0)
    films = []
    for finding in findings:
        for patient in range(n_patients):
            for film in range(1 + patient % 2):
                image = draw.normal(100, 20, (40, 48))
                image += {"bright": 60, "dark": -60}.get(finding, 0)
                image[::6] += 80 * (finding == "striped")
                path = f"{finding}/{patient}_{film}.png"
                (folder / finding).mkdir(exist_ok=True, parents=True)
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / path)
                films.append(Record(path, (finding,), patient_id=f"{finding}{patient}"))
    return Records(tuple(films), folder)


def start_process(work, *arguments):
    """Start work(*arguments) in a process of its own; it can be pickled, as a function of this module."""
    process = _FORKS.Process(target=work, args=arguments)
    process.start()
    return process


def train_run(films, out, kind, settings):
    """Train 6 epochs into a folder, or go on with what lies there."""
    same = {"image_spec": ImageSpec(size_px=32), "n_epochs": 6, "batch_size": 12, "encoder": "resnet9"}
    same |= {"encoder_options": {"width": 16, "dropout": 0.3}}
    if kind == "siamese":
        trainer = SiameseTrainer(**same, val_n_shot=2, val_n_query=2, val_n_episodes=20, **settings)
    else:
        trainer = ClassifierTrainer(**same, **settings)
    trainer.fit(films, out=out, resume=(out / "last.ckpt").exists())


def train_rank(rank, n_ranks, port, films, out, trainers):
    """Train as one of several ranks, trainer after trainer, and note which rows each batch had."""
    of_rank = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n_ranks, "LOCAL_WORLD_SIZE": n_ranks}
    os.environ |= {name: str(value) for name, value in of_rank.items()} | {"MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    torch.set_num_threads(1)
    drawn = []
    plain = RankSampler.__iter__
    RankSampler.__iter__ = lambda self: (drawn.append((self.sampler.epoch, rows)) or rows for rows in plain(self))
    for name, trainer in trainers.items():
        drawn.clear()
        trainer.fit(films, out=out / name, progress=None)
        (out / f"{name} of {rank}.json").write_text(json.dumps(drawn))
