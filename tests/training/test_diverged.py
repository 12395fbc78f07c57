import numpy as np
import pytest
from made_runs import make_films

from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer, fitting

SMALL = {"image_spec": ImageSpec(size_px=32), "n_epochs": 2, "batch_size": 12, "n_batches": 1, "precision": "32-true"}
SMALL |= {"encoder": "resnet9", "encoder_options": {"width": 4}}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_films(tmp_path_factory.mktemp("films"))


class SteepAtZero:
    """A loss that is 0, and whose gradient is not a number."""

    def __call__(self, logits, targets):
        return (logits.sum() * 0).sqrt()


def test_what_is_not_finite_is_neither_judged_nor_kept(films, tmp_path):
    with pytest.raises(
        FloatingPointError,
        match=r"^learner\S* is not finite after epoch 1 at a learning rate of 0.01: lower the learning rate \(--lr\)$",
    ):
        ClassifierTrainer(**SMALL, lr=0.01, loss=SteepAtZero(), schedule="constant").fit(
            films, out=tmp_path, progress=None
        )
    assert not {path.name for path in tmp_path.iterdir()} & {"encoder.safetensors", "last.ckpt", "history.csv"}


def test_a_loss_that_is_not_finite_says_when_and_at_which_rate(films):
    class Overflowing:
        def __call__(self, logits, targets):
            return logits.sum() * float("inf")

    with pytest.raises(FloatingPointError, match=r"the loss is \S+ at step 0 \(epoch 1, learning rate 0.01\): lower"):
        ClassifierTrainer(**SMALL, lr=0.01, loss=Overflowing(), schedule="constant").fit(films, progress=None)


@pytest.mark.parametrize("trainer", [SiameseTrainer, ClassifierTrainer])
def test_films_whose_vectors_are_not_finite_end_the_run(films, tmp_path, monkeypatch, trainer):
    monkeypatch.setattr(
        fitting,
        "film_vectors",
        lambda encoder, films, **_: np.full((len(films), encoder.embedding_dim), np.nan, dtype=np.float32),
    )
    with pytest.raises(
        FloatingPointError, match=r"^validation is not finite after epoch 1 at a learning rate of 0.01: lower"
    ):
        trainer(**SMALL, lr=0.01, schedule="constant").fit(films, out=tmp_path, progress=None)
    assert not (tmp_path / "encoder.safetensors").exists()
