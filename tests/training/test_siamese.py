import csv
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from made_runs import make_films, start_process, train_run
from PIL import Image

from fewshot_cxr.encoders import load_encoder, load_head
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import template_options
from fewshot_cxr.records import Records
from fewshot_cxr.storage import tensor_hash
from fewshot_cxr.training import SiameseTrainer

SMALL = {"image_spec": ImageSpec(size_px=32), "n_epochs": 2, "batch_size": 12, "val_n_shot": 2, "val_n_query": 2}
SMALL |= {"val_n_episodes": 20, "encoder_options": {"width": 4, "dropout": 0.2}, "precision": "32-true"}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_films(tmp_path_factory.mktemp("films"))


def weights(encoder):
    return tensor_hash(encoder.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "distance"),
    [
        ("triplet", "euclidean"),
        ("contrastive", "l1"),
        ("multi_similarity", "cosine"),
        ("supcon", "cosine"),
        ("pair_bce", "l1"),
        ("prototypical", "squared_euclidean"),
    ],
)
@pytest.mark.parametrize("schedule", ["one_cycle", "plateau"])
def test_a_run_leaves_an_encoder_that_knows_its_films(films, tmp_path, loss, distance, schedule):
    trainer = SiameseTrainer(**SMALL | {"n_epochs": 6}, loss=loss, distance=distance, schedule=schedule)
    trained = trainer.fit(films, out=tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "encoder.safetensors",
        "card.json",
        "history.csv",
        "last.ckpt",
        "logs",
        "training_films.json",
    }
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card == load_encoder(tmp_path / "run").card == trained.card
    assert (card["distance"], card["findings"]) == (distance, ["bright", "dark", "striped"])
    assert card["training"]["loss"] == loss
    assert card["val_accuracy"] == max(row["val_accuracy"] for row in trained.history) > 0.6
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert {"loss", "active_share", "distance_spread", "lr", "val_accuracy"} <= rows[0].keys()
    assert "carved from the training films, by patient" in trained.notes[0]
    assert not trained.encoder.training
    assert list((tmp_path / "run" / "logs").glob("events.*"))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state(films):
    before = torch.get_rng_state()
    first, again, other = (SiameseTrainer(**SMALL, seed=seed).fit(films).encoder for seed in (3, 3, 4))
    assert weights(first) == weights(again) != weights(other)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_is_reported_to_the_end(films):
    calls = []
    SiameseTrainer(**SMALL).fit(films, progress=lambda *call: calls.append(call))
    last = [call for call in calls if call[0] == "training"][-1]
    assert last[1] == last[2]
    assert {call[0] for call in calls} == {"decoding train films", "decoding val films", "training"}


def test_early_stopping_and_the_time_limit_stop(films, tmp_path):
    trainer = SiameseTrainer(**SMALL | {"n_epochs": 50, "lr": 1e-9}, patience=2)
    trained = trainer.fit(films)
    assert len(trained.history) < 50
    assert trained.notes[-1] == "no better validation accuracy for 2 epochs"
    short = SiameseTrainer(**SMALL | {"n_epochs": 50}, max_minutes=1e-6).fit(films)
    assert len(short.history) == 1
    assert "another epoch would pass 1e-06 minutes" in short.notes[-1]


def test_a_patient_in_both_parts_is_refused(films):
    with pytest.raises(ValueError, match=r"patient bright0 is in .* and in .*split by patient"):
        SiameseTrainer(**SMALL).fit(films, films[:5])


def test_small_validation_shrinks_by_the_stated_rule(films):
    patients = {film.patient_id for film in films if film.patient_id[-1] in "0123" and len(film.patient_id) < 8}
    val = films.where(lambda film: film.patient_id in patients)
    train = films.where(lambda film: film.patient_id not in patients)
    trained = SiameseTrainer(**SMALL | {"val_n_shot": 3, "val_n_query": 9}).fit(train, val)
    assert any("instead of 3 and 9: a finding has few validation patients" in note for note in trained.notes)


def test_a_corrupt_film_costs_one_row_and_is_named(films, tmp_path):
    records = make_films(tmp_path)
    broken = tmp_path / records[0].path
    broken.write_bytes(broken.read_bytes()[:200])
    trained = SiameseTrainer(**SMALL).fit(records)
    assert any(note.startswith(f"left out {records[0].path}: ") for note in trained.notes)


def test_collapse_is_warned_of(films, tmp_path):
    for film in films:
        (tmp_path / film.path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 100, dtype=np.uint8)).save(tmp_path / film.path)
    trainer = SiameseTrainer(**SMALL | {"encoder_options": {"width": 4}}, augmentation=None)
    with pytest.warns(UserWarning, match="the embeddings have collapsed in epoch 1.*--miner semihard"):
        trainer.fit(Records(films.films, tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "resnet10"}, r"unknown encoder 'resnet10'"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"device": "cuda:9"}, "device 'cuda:9' is absent"),
        ({"loss": "supcon"}, "loss 'supcon' compares by cosine, not euclidean"),
        ({"batch_size": 2}, "batch_size must be at least 4, got 2"),
    ],
)
def test_wrong_settings_are_refused(films, settings, message):
    with pytest.raises(ValueError, match=message):
        SiameseTrainer(**SMALL | {"distance": "euclidean"} | settings).fit(films)


def test_resume_wants_the_same_run(films, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing to resume; run without --resume first"):
        SiameseTrainer(**SMALL).fit(films, out=tmp_path, resume=True)
    SiameseTrainer(**SMALL).fit(films, out=tmp_path)
    with pytest.raises(ValueError, match=r"made with another lr \(.* there, 0.5 now\); resume with the settings of"):
        SiameseTrainer(**SMALL, lr=0.5).fit(films, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="trained on other films or another split"):
        SiameseTrainer(**SMALL).fit(films[:-1], out=tmp_path, resume=True)
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:500])
    with pytest.raises(OSError, match=r"last.ckpt is damaged or no checkpoint"):
        SiameseTrainer(**SMALL).fit(films, out=tmp_path, resume=True)


def test_a_pickle_in_place_of_the_checkpoint_runs_nothing(films, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "evil"),))

    torch.save({"run_card": Evil()}, tmp_path / "last.ckpt")
    with pytest.raises(OSError, match="is damaged or no checkpoint"):
        SiameseTrainer(**SMALL).fit(films, out=tmp_path, resume=True)
    assert not (tmp_path / "evil").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("siamese", {"loss": "triplet", "distance": "euclidean", "memory": 24, "restart_every": 2}),
        ("siamese", {"loss": "proxy_anchor", "schedule": "plateau", "aux": "simclr"}),
        ("siamese", {"loss": "pair_bce", "distance": "l1", "standardisation": "per_pixel"}),
        ("siamese", {"freeze": "backbone", "memory": 24, "aux": "simclr", "frozen_views": 2}),
        (
            "classifier",
            {"balance": "inverse", "averaging": 0.9, "plateau_patience": 1, "freeze": 2, "restart_every": 3},
        ),
    ],
)
def test_killed_thrice_and_resumed_is_as_never_killed(films, tmp_path, kind, settings):
    def start(out):
        return start_process(train_run, films, tmp_path / out, kind, settings)

    whole = start("whole")
    whole.join()
    assert whole.exitcode == 0
    draw = np.random.default_rng(int(time.time()))
    for _ in range(3):
        process = start("killed")
        wanted = _n_epochs(tmp_path / "killed") + 1
        while process.is_alive() and _n_epochs(tmp_path / "killed") < wanted:
            time.sleep(0.02)
        time.sleep(float(draw.uniform(0, 0.3)))
        process.kill()
        process.join()
    process = start("killed")
    process.join()
    assert process.exitcode == 0
    whole, killed = (load_encoder(tmp_path / name) for name in ("whole", "killed"))
    assert weights(whole) == weights(killed)
    last = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "killed")]
    assert last[0]["state_dict"].keys() == last[1]["state_dict"].keys()
    assert all(torch.equal(value, last[1]["state_dict"][name]) for name, value in last[0]["state_dict"].items())
    assert last[0]["global_step"] == last[1]["global_step"]
    if kind == "classifier" or settings.get("loss") == "pair_bce":
        heads = [load_head(tmp_path / name)[0] for name in ("whole", "killed")]
        assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())


def _n_epochs(out):
    history = out / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.exists() else 0


def test_the_learned_distance_lies_in_the_run_and_decides_as_in_training(films, tmp_path):
    trainer = SiameseTrainer(**SMALL | {"n_epochs": 4}, loss="pair_bce", distance="l1", margin=None)
    trained = trainer.fit(films, out=tmp_path)
    assert trained.card["head"] == {"kind": "weighted_l1", "is_nonnegative": False}
    options = template_options(trained.encoder, tmp_path)
    tensors, _ = load_head(tmp_path)
    assert torch.equal(options["weights"], tensors["alpha"])
    assert options["bias"] == tensors["bias"].item()
    known = SiameseTrainer(**SMALL).fit(films, out=tmp_path / "plain")
    assert "head" not in known.card
    assert template_options(known.encoder, tmp_path / "plain") == {}


@pytest.mark.slow
def test_a_memory_and_two_views_change_what_is_learnt(films):
    losses = []
    for settings in ({}, {"memory": 24}, {"aux": "simclr"}, {"aux": "vicreg", "aux_weight": 0.5}):
        trained = SiameseTrainer(**SMALL | {"n_epochs": 2}, loss="triplet", distance="l1", **settings).fit(films)
        losses.append(trained.history[-1]["loss"])
        assert ("aux_loss" in trained.history[0]) == ("aux" in settings)
    assert len(set(losses)) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "pair_bce", "sampler": "balanced"}, "loss 'pair_bce' reads its batches as pairs, not balanced"),
        ({"loss": "prototypical", "sampler": "shuffled"}, "reads its batches as episodic, not shuffled"),
        ({"loss": "pair_bce", "distance": "cosine"}, "pair_bce"),
        ({"loss": "prototypical", "n_shot": 5}, r"batch_size 12 leaves no query in 3-way 5-shot batches; make it 18"),
        (
            {"loss": "prototypical", "loss_options": {"n_shot": 3}},
            "the loss takes 3 support films of each finding, and its batches have n_shot 1: make that 3",
        ),
        ({"aux": "simclr", "augmentation": None}, "aux compares two views of a film"),
        ({"aux": "simclr2"}, r"unknown auxiliary.*'simclr2' \(did you mean 'simclr'\?\)"),
        ({"memory": 8, "loss": "pair_bce", "distance": "l1"}, "pair_bce"),
        ({"sampler": "balance"}, r"unknown sampler 'balance' \(did you mean 'balanced'\?\)"),
        ({"val_rule": "nearst"}, r"unknown rule 'nearst'"),
        ({"n_way": 2}, "n_way and n_shot are of episodic batches"),
        ({"aux_weight": 7.0}, "aux_weight 7.0 is of no term: name one"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(films, settings, message):
    with pytest.raises(ValueError, match=message):
        SiameseTrainer(**SMALL | {"distance": "l1", "loss": "triplet"} | settings).fit(films)


@pytest.mark.slow
def test_nothing_is_printed_by_lightning_or_torch(tmp_path):
    program = (
        "from fewshot_cxr import SiameseTrainer, ImageSpec\n"
        "from fewshot_cxr.data.synthetic import make_synthetic\n"
        "films = make_synthetic('films', n_patients=8, findings=('normal', 'effusion'), size_px=48, seed=0)\n"
        "small = {'n_epochs': 1, 'n_batches': 2, 'encoder_options': {'width': 4}}\n"
        "SiameseTrainer(image_spec=ImageSpec(size_px=32), **small).fit(films, out='run')\n"
    )
    command = [sys.executable, "-W", "default", "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    told = [line for line in (ended.stdout + ended.stderr).splitlines() if "lightning" in line or "torch" in line]
    assert not told
