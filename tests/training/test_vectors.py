import pytest
import torch
from made_runs import make_films

from fewshot_cxr.data import Augmentation
from fewshot_cxr.encoders import build_encoder, load_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import batches
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer, fitting
from fewshot_cxr.training.vectors import stored_view, trains_head_alone

SPEC = ImageSpec(size_px=32)
SMALL = {"image_spec": SPEC, "n_epochs": 2, "batch_size": 12, "precision": "32-true", "freeze": "backbone"}
EPISODES = {"val_n_shot": 2, "val_n_query": 2, "val_n_episodes": 20}
HEAD = {"encoder": "resnet9", "encoder_options": {"width": 4, "dropout": 0.2, "output": "head"}}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return make_films(tmp_path_factory.mktemp("films"), n_patients=8)


def fit(trainer, films):
    trained = trainer.fit(films, progress=None)
    network = trained.classifier if isinstance(trainer, ClassifierTrainer) else trained.encoder
    return network.state_dict() if isinstance(network, torch.nn.Module) else network.encoder.state_dict(), trained


@pytest.mark.parametrize(
    "trainer",
    [
        SiameseTrainer(**SMALL, **EPISODES, **HEAD, augmentation=None),
        SiameseTrainer(
            **SMALL, **EPISODES, **HEAD, augmentation=None, loss="triplet", miner="hard", standardisation="per_pixel"
        ),
        SiameseTrainer(**SMALL, **EPISODES, **HEAD, augmentation=None, loss="prototypical", memory=0),
        SiameseTrainer(**SMALL, **EPISODES, **HEAD, augmentation=None, loss="pair_bce", distance="l1"),
        ClassifierTrainer(**SMALL, **HEAD, augmentation=None),
    ],
    ids=lambda trainer: str(trainer.loss),
)
def test_a_head_trained_on_vectors_is_the_one_trained_on_films(films, monkeypatch, tmp_path, trainer):
    # Training on films folds no norm: the same rounding on either side, where a gradient may be rounding alone.
    monkeypatch.setattr(batches, "folded", lambda encoder, images: encoder)
    monkeypatch.setenv("FSCXR_CACHE", str(tmp_path))  # nor are folded features looked up
    quick, trained = fit(trainer, films)
    monkeypatch.setattr(fitting, "trains_head_alone", lambda encoder: False)
    slow, other = fit(trainer, films)
    assert all(torch.allclose(quick[name].float(), slow[name].float(), atol=1e-5) for name in slow)
    for row, slow_row in zip(trained.history, other.history, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**slow_row, "seconds": 0}, abs=1e-4)


def test_the_backbone_sees_each_view_of_a_film_once(films):
    seen = []
    encoder = build_encoder("resnet9", image_spec=SPEC, width=4)
    encoder.backbone.register_forward_hook(count := Counter(seen))
    trainer = SiameseTrainer(**SMALL | {"n_epochs": 3}, **EPISODES, encoder=encoder, frozen_views=3)
    calls = []
    trained = trainer.fit(films, progress=lambda *call: calls.append(call))
    n_films = trained.card["n_films"]
    assert sum(count.seen) == 3 * n_films["train"] + n_films["val"]
    assert ("embedding films", sum(count.seen), sum(count.seen)) in calls


class Counter:
    def __init__(self, seen):
        self.seen = seen

    def __call__(self, module, given, output):
        self.seen.append(len(output))

    def __deepcopy__(self, memo):
        return self


def test_views_differ_and_follow_from_the_seed(films):
    def head(**others):
        return fit(SiameseTrainer(**{**SMALL, **EPISODES, **HEAD, **others}), films)[0]["head.weight"]

    plain, views = head(), head(frozen_views=2)
    assert torch.equal(plain, head(augmentation=None, frozen_views=3))
    assert torch.equal(views, head(frozen_views=2))
    assert not torch.equal(views, plain)
    assert not torch.equal(views, head(frozen_views=2, augmentation=Augmentation(flip=0.0)))


def test_each_film_takes_one_of_its_views_in_a_step():
    vectors = torch.arange(40.0).view(20, 2, 1).repeat(1, 1, 3)
    first, again, other = (stored_view(vectors, 0, step, 0) for step in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    rows = torch.arange(20)
    assert all(bool((first[:, 0] == vectors[rows, view, 0]).any()) for view in (0, 1))
    assert set((first[:, 0] // 2).int().tolist()) == set(range(20))


def test_only_a_head_with_nothing_trained_before_it_sees_vectors():
    encoder = build_encoder("resnet9", image_spec=SPEC, width=4)
    assert not trains_head_alone(encoder)
    encoder.freeze(2)
    assert not trains_head_alone(encoder)
    encoder.freeze(None)
    assert trains_head_alone(encoder)
    gated = build_encoder("efficientnet_attention", image_spec=ImageSpec(size_px=64))
    gated.freeze(None)
    assert not trains_head_alone(gated)  # its gates follow the backbone


def test_two_views_of_a_film_need_two(films):
    with pytest.raises(ValueError, match="aux compares two views of a film, .*: embed more, frozen_views"):
        SiameseTrainer(**SMALL, **EPISODES, **HEAD, aux="simclr").fit(films, progress=None)


def test_a_run_says_that_its_films_were_embedded_once(films):
    notes = fit(SiameseTrainer(**SMALL, **EPISODES, **HEAD, frozen_views=2), films)[1].notes
    assert any("each film was embedded once, training films in 2 views" in note for note in notes)
    assert any(
        "each film was embedded once" in note for note in fit(ClassifierTrainer(**SMALL, **HEAD), films)[1].notes
    )


def test_where_nothing_is_left_to_train_the_encoder_is_kept_as_it_is(films, tmp_path):
    pooled = {"encoder": "resnet9", "encoder_options": {"width": 4, "output": "pooled"}}
    trained = SiameseTrainer(**SMALL, **EPISODES, **pooled).fit(films, out=tmp_path / "run", progress=None)
    assert not trained.history
    assert trained.notes[-1].startswith("nothing is trained: the backbone is frozen and its pooled features are")
    loaded, built = load_encoder(tmp_path / "run"), build_encoder("resnet9", image_spec=SPEC, width=4, output="pooled")
    assert all(torch.equal(loaded.state_dict()[name], weight) for name, weight in built.state_dict().items())
    assert loaded.card["findings"] == trained.card["findings"] == []
