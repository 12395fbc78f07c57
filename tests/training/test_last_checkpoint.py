import re
import tempfile
from copy import deepcopy

import numpy as np
import pytest
import torch
from made_runs import make_films

from fewshot_cxr._kinds import LAST
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.training import SiameseTrainer
from fewshot_cxr.training.last_checkpoint import LastCheckpoint, read_checkpoint

SMALL = {"image_spec": ImageSpec(size_px=32), "n_epochs": 1, "batch_size": 12, "n_batches": 1, "val_n_shot": 2}
SMALL |= {"val_n_query": 2, "val_n_episodes": 5, "encoder_options": {"width": 4}, "precision": "32-true"}
CARD = {"training": {"lr": 0.1}, "data_hash": {"train": "a", "val": "b"}, "n_films": {"train": 5, "val": 2}}
WHOLE = {
    "run_card": CARD | {"n_epochs_done": 1},
    "state_dict": {"a.weight": torch.arange(40.0), "a.bias": torch.ones(3, dtype=torch.bfloat16)},
    "optimizer_states": [{"state": {0: {"step": torch.tensor(4.0)}}}],
    "lr_schedulers": [{"last_epoch": 4}],
    "loops": {"fit_loop": {}},
    "callbacks": {"RunKeeper": {"history": [{"epoch": 1.0, "step": 2.0}]}},
}


def saved(folder, checkpoint=WHOLE):
    LastCheckpoint().save_checkpoint(checkpoint, folder / LAST)
    return folder / LAST


def test_no_flipped_bit_is_believed(tmp_path):
    last = saved(tmp_path)
    content, whole = last.read_bytes(), str(read_checkpoint(last))
    outcomes = {"refused": 0, "harmless": 0}
    for bit in range(0, 8 * len(content), 61):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        last.write_bytes(changed)
        try:
            assert str(read_checkpoint(last)) == whole, f"bit {bit} is believed"
            outcomes["harmless"] += 1
        except OSError as error:
            assert re.fullmatch(r".*last.ckpt is damaged or no checkpoint: start anew without --resume", str(error))  # noqa: PT017 - one of many
            outcomes["refused"] += 1
    assert outcomes["refused"] > 100


def test_a_part_that_is_marked_a_folder_is_damage(tmp_path):
    last = saved(tmp_path)  # torch reads nothing of such a part, and takes what lies in memory
    content = last.read_bytes()
    for entry in re.finditer(b"PK\x01\x02", content):
        changed = bytearray(content)
        changed[entry.start() + 38] ^= 0x10
        last.write_bytes(changed)
        with pytest.raises(OSError, match=r"last.ckpt is damaged"):
            read_checkpoint(last)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-40], lambda whole: whole[: len(whole) // 2], lambda _: b""])
def test_damage_names_the_best_encoder_that_is_left(tmp_path, damage):
    last = saved(tmp_path)
    encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=2)
    save_encoder(encoder, tmp_path / "encoder.safetensors", card={"best_epoch": 7})
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(OSError, match=r"last.ckpt is damaged .* before it, 7, is whole, and --weights .*encoder"):
        read_checkpoint(last)
    (tmp_path / "encoder.safetensors").write_bytes(b"")
    with pytest.raises(OSError, match=r"last.ckpt is damaged or no checkpoint: start anew without --resume$"):
        read_checkpoint(last)


def test_it_is_written_beside_its_place_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    big = WHOLE | {"state_dict": {"weight": torch.zeros(100_000)}}
    last = saved(tmp_path, big)
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
    assert read_checkpoint(last)["state_dict"]["weight"].shape == (100_000,)


@pytest.mark.parametrize("wrong", [None, [], {}, "x", "x" * 1_000_000, -1e308, 10**400, True, float("nan")])
@pytest.mark.parametrize("key", ["training", "data_hash", "n_films", "n_epochs_done"])
def test_a_card_of_another_form_is_refused_by_name(tmp_path, key, wrong):
    checkpoint = deepcopy(WHOLE)
    checkpoint["run_card"][key] = wrong
    if key == "training" and wrong == {}:
        return
    with pytest.raises(ValueError, match=rf"last.ckpt is no checkpoint of fewshot_cxr: what.*run_card.{key}") as caught:
        read_checkpoint(saved(tmp_path, checkpoint))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    del checkpoint["run_card"][key]
    with pytest.raises(ValueError, match=rf"last.ckpt is no checkpoint of fewshot_cxr: what.*lacks '{key}'"):
        read_checkpoint(saved(tmp_path, checkpoint))


@pytest.mark.parametrize("whole", [None, 3, [], {}, WHOLE | {"run_card": None}, WHOLE | {"state_dict": []}, np.ones(2)])
def test_what_is_no_checkpoint_is_refused(tmp_path, whole):
    torch.save(whole, tmp_path / LAST)
    with pytest.raises((OSError, ValueError), match=r"last.ckpt is (no|damaged or no) checkpoint"):
        read_checkpoint(tmp_path / LAST)


def without(key):
    def change(checkpoint):
        del checkpoint[key]

    return change


CHANGES = {
    "no loops": without("loops"),
    "no version": without("pytorch-lightning_version"),
    "a version of words": lambda c: c.update({"pytorch-lightning_version": "x"}),
    "no optimiser": lambda c: c.update(optimizer_states=[]),
    "other groups": lambda c: c["optimizer_states"][0].update(param_groups=[{"params": []}]),
    "another optimiser": lambda c: c.update(optimizer_states=[{"state": 3}]),
    "no weights": lambda c: c.update(state_dict={}),
    "weights of another shape": lambda c: c["state_dict"].update(dict.fromkeys(c["state_dict"], torch.ones(1))),
    "weights that are texts": lambda c: c["state_dict"].update(dict.fromkeys(c["state_dict"], "x")),
    "no history": lambda c: c["callbacks"].update(RunKeeper={}),
    "a history of texts": lambda c: c["callbacks"].update(RunKeeper={"history": ["x"]}),
    "a history without epochs": lambda c: c["callbacks"].update(RunKeeper={"history": [{"a": 1.0}]}),
    "a history that is too long": lambda c: c["callbacks"]["RunKeeper"]["history"].append({"epoch": 2.0, "step": 2.0}),
    "a history of words": lambda c: c["callbacks"]["RunKeeper"]["history"][0].update(loss="x"),
    "loops that are none": lambda c: c.update(loops={"fit_loop": None}),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    films = make_films(folder / "films")
    SiameseTrainer(**SMALL).fit(films, out=folder / "out", progress=None)
    return films, folder / "out"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_checkpoint_that_does_not_fit_its_run_is_refused_in_one_line(run, change):
    films, out = run
    whole = (out / LAST).read_bytes()
    checkpoint = torch.load(out / LAST, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, out / LAST)
    try:
        with pytest.raises(ValueError, match=r"last.ckpt (does not fit its own|is no checkpoint)") as caught:
            SiameseTrainer(**SMALL).fit(films, out=out, resume=True, progress=None)
    finally:
        (out / LAST).write_bytes(whole)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_best_encoder_of_another_run_is_not_taken_for_this_ones(run):
    films, out = run
    best = out / "encoder.safetensors"
    whole = best.read_bytes()
    SiameseTrainer(**SMALL, seed=1).fit(films, out=out.parent / "other", progress=None)
    others = {
        "encoder.safetensors is of another run than last.ckpt": (out.parent / "other" / best.name).read_bytes(),
        "encoder.safetensors is damaged": whole[:-9],
    }
    try:
        for message, content in others.items():
            best.write_bytes(content)
            with pytest.raises((OSError, ValueError), match=message):
                SiameseTrainer(**SMALL).fit(films, out=out, resume=True, progress=None)
        best.unlink()
        with pytest.raises(FileNotFoundError, match=r"encoder.safetensors: no such file"):
            SiameseTrainer(**SMALL).fit(films, out=out, resume=True, progress=None)
    finally:
        best.write_bytes(whole)
    SiameseTrainer(**SMALL).fit(films, out=out, resume=True, progress=None)
