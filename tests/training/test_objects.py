"""Trainers, `embed` and `load_encoder` take objects: modules, losses, miners, augmentations and Datasets of others."""

import json

import numpy as np
import pytest
import torch
from made_films import make_image_folder
from PIL import Image
from pytorch_metric_learning import losses, miners
from torch import nn
from torch.utils.data import Dataset, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from fewshot_cxr.data import XrayDataset, cache_films, read_dataset
from fewshot_cxr.encoders import Encoder, build_encoder, load_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import embed, load_classifier
from fewshot_cxr.storage import tensor_hash
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer

SPEC = ImageSpec(size_px=32)
SMALL = {"n_epochs": 2, "batch_size": 12, "precision": "32-true", "device": "cpu"}
SIAMESE = SMALL | {"val_n_shot": 2, "val_n_query": 2, "val_n_episodes": 20}
NARROW = {"image_spec": SPEC, "encoder_options": {"width": 4}}
CONTAINER = "torch.nn.modules.container.Sequential"


def network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(32, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_image_folder(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def films(folder):
    return read_dataset("image_folder", folder)


def weights(encoder):
    return tensor_hash(encoder.state_dict())


class Circle(nn.Module):
    """A loss with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, embeddings, class_ids):
        return losses.CircleLoss()(embeddings, class_ids) * self.scale.exp()


def shrink(embeddings, class_ids):
    return embeddings.square().mean()


def darken(image):
    return image * torch.rand(())


class Films(Dataset):
    """Arrays and labels, and nothing else."""

    def __init__(self, n=60, *, n_channels=0, **facts):
        draw = np.random.default_rng(0)
        self.labels = np.arange(n) % 3
        images = draw.integers(0, 90, (n, *([n_channels] if n_channels else []), 32, 32)) + 80 * self.labels.reshape(
            -1, *[1] * (3 if n_channels else 2)
        )
        self.images = images.astype(np.uint8)
        self.__dict__.update(facts)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        return self.images[row], self.labels[row]


def test_a_module_trains_is_saved_and_loaded_with_the_module_handed_in_again(films, tmp_path):
    net = network()
    before = tensor_hash(net.state_dict())
    trained = SiameseTrainer(encoder=net, image_spec=SPEC, **SIAMESE).fit(films, out=tmp_path)
    assert tensor_hash(net.state_dict()) == before  # a copy was trained
    assert trained.encoder.embedding_dim == 6
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["encoder"] == {"encoder": f"module:{CONTAINER}", "options": {}}
    assert card["training"]["encoder"] == CONTAINER
    with pytest.raises(ValueError, match=rf"holds the weights of a {CONTAINER}.*load_encoder\(path, module=\.\.\.\)"):
        load_encoder(tmp_path)
    loaded = load_encoder(tmp_path, module=network(seed=5))
    assert weights(loaded) == weights(trained.encoder)
    one, two = embed(trained.encoder, films), embed(loaded, films)
    np.testing.assert_array_equal(one.vectors, two.vectors)
    assert (two.distance, loaded.image_spec, loaded.card) == ("cosine", SPEC, card)
    with pytest.raises(
        ValueError, match="holds the weights of module:torch.*Sequential, the module is module:torch.*Flatten"
    ):
        load_encoder(tmp_path, module=nn.Flatten())


def test_a_run_with_objects_goes_on_exactly_where_it_was_stopped(films, tmp_path):
    def fit(out, **more):
        objects = {"encoder": network(), "loss": Circle(), "augmentation": darken, "averaging": None}
        settings = SIAMESE | {"n_epochs": 4, "schedule": "constant"} | objects
        return SiameseTrainer(image_spec=SPEC, **settings, **more)

    whole = fit(0).fit(films, out=tmp_path / "whole")
    fit(0, max_minutes=1e-6).fit(films, out=tmp_path / "stopped")
    again = fit(0).fit(films, out=tmp_path / "stopped", resume=True)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in whole.history]
    last = [torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("whole", "stopped")]
    assert all(torch.equal(value, last[1][name]) for name, value in last[0].items())
    with pytest.raises(ValueError, match=r"made with another .*loss \(.* now\); resume with"):
        SiameseTrainer(
            encoder=network(), image_spec=SPEC, augmentation=darken, **SIAMESE | {"n_epochs": 4, "schedule": "constant"}
        ).fit(films, out=tmp_path / "stopped", resume=True)


def test_an_encoder_trains_as_the_one_of_its_name(films):
    named = SiameseTrainer(**NARROW, **SIAMESE).fit(films)
    given = build_encoder("resnet9", image_spec=SPEC, width=4)
    trained = SiameseTrainer(encoder=given, **SIAMESE).fit(films)
    assert weights(trained.encoder) == weights(named.encoder)
    assert trained.card["encoder"] == named.card["encoder"]


class Tiny(Encoder):
    """An encoder of the user's own that stands in no table."""

    def __init__(self, spec):
        super().__init__(spec, n_features=5)
        self.backbone = nn.Conv2d(1, 5, 3)

    def _feature_map(self, images):
        return self.backbone(images)


def test_an_encoder_of_ones_own_class_is_loaded_into_one(films, tmp_path):
    trained = SiameseTrainer(encoder=Tiny(SPEC), **SIAMESE).fit(films, out=tmp_path)
    with pytest.raises(ValueError, match=r"of a \S*test_objects.Tiny, which no name builds"):
        load_encoder(tmp_path)
    assert weights(load_encoder(tmp_path, module=Tiny(SPEC))) == weights(trained.encoder)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"encoder": network()}, TypeError, "encoder is a Sequential, .* give image_spec beside it"),
        ({"encoder": network(), "image_spec": SPEC, "encoder_options": {"width": 4}}, ValueError, "encoder_options"),
        ({"encoder": build_encoder("resnet9", image_spec=SPEC), "image_spec": ImageSpec()}, ValueError, "image_spec"),
        (
            {"encoder": nn.Conv2d(1, 2, 3), "image_spec": SPEC},
            ValueError,
            r"embeddings of shape \(N, dim\), got \(2, 2,",
        ),
        ({"encoder": network(), "image_spec": ImageSpec(size_px=32, n_channels=3)}, ValueError, "does not take images"),
        ({"encoder": 3, "image_spec": SPEC}, TypeError, "an encoder must be a module of torch, got builtins.int"),
        (NARROW | {"loss": Circle(), "margin": 0.5}, ValueError, "leave margin and loss_options out"),
        (NARROW | {"loss": Circle(), "memory": 8}, ValueError, "cannot use a memory"),
        (
            NARROW | {"loss": "triplet", "miner": miners.TripletMarginMiner(), "memory": 8},
            ValueError,
            r"the miner sees one batch alone: leave it out \(--miner\), or the memory \(--memory\)",
        ),
        (NARROW | {"loss": 3}, TypeError, "loss must be a name, got 3"),
        (
            NARROW | {"augmentation": lambda image: image[:, 1:]},
            ValueError,
            r"augmentation must keep the shape \(1, 32,",
        ),
    ],
)
def test_objects_that_do_not_fit_are_refused_in_one_line(films, settings, error, message):
    with pytest.raises(error, match=message) as caught:
        SiameseTrainer(**settings, **SIAMESE).fit(films)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("objects", "names"),
    [
        (
            {"loss": losses.TripletMarginLoss(margin=0.2), "miner": miners.TripletMarginMiner(margin=0.2)},
            {
                "loss": "pytorch_metric_learning.losses.triplet_margin_loss.TripletMarginLoss",
                "miner": "pytorch_metric_learning.miners.triplet_margin_miner.TripletMarginMiner",
            },
        ),
        ({"loss": losses.ProxyAnchorLoss(3, 128)}, {}),
        ({"loss": "triplet", "miner": miners.BatchHardMiner()}, {}),
        ({"loss": Circle()}, {"loss": "test_objects.Circle"}),
        (
            {"loss": shrink, "augmentation": darken},
            {"loss": "test_objects.shrink", "augmentation": "test_objects.darken"},
        ),
        ({"augmentation": transforms.RandomRotation(10)}, {}),
    ],
)
@pytest.mark.slow
def test_losses_miners_and_augmentations_of_others_train_and_the_card_names_their_class(
    films, tmp_path, objects, names
):
    trainer = SiameseTrainer(**NARROW, **SIAMESE, **objects)
    first, second = (trainer.fit(films, out=tmp_path / name) for name in ("one", "two"))
    assert weights(first.encoder) == weights(second.encoder)
    card = json.loads((tmp_path / "one" / "card.json").read_text())["training"]
    assert all(card[name].endswith(said) for name, said in names.items())
    assert load_encoder(tmp_path / "one").recipe["encoder"] == "resnet9"


def test_the_own_augmentation_is_drawn_for_each_film_and_seen(films):
    calls = []
    SiameseTrainer(**NARROW, **SIAMESE, augmentation=lambda image: calls.append(image.shape) or image).fit(films)
    assert set(calls) == {(1, 32, 32)}
    some = []
    augment = {"augmentation": lambda image: some.append(1) or image * 0, "augment_findings": ("bright",)}
    trained = SiameseTrainer(**NARROW, **SIAMESE, **augment).fit(films)
    plain = SiameseTrainer(**NARROW, **SIAMESE, augmentation=None).fit(films)
    assert trained.history[0]["loss"] != plain.history[0]["loss"]


def test_a_classifier_takes_a_module_a_loss_and_an_augmentation(films, tmp_path):
    objects = {"encoder": network(), "image_spec": SPEC, "loss": nn.CrossEntropyLoss(label_smoothing=0.1)}
    trained = ClassifierTrainer(**SMALL, **objects, augmentation=darken).fit(films, out=tmp_path)
    assert trained.card["training"]["loss"] == "torch.nn.modules.loss.CrossEntropyLoss"
    with pytest.raises(ValueError, match="hand one in"):
        load_classifier(tmp_path)
    loaded = load_classifier(tmp_path, module=network(3))
    assert weights(loaded.encoder) == weights(trained.classifier.encoder)
    assert torch.equal(loaded.head.weight, trained.classifier.head.weight)
    named = ClassifierTrainer(**SMALL, **NARROW, encoder="resnet9", loss_options={"label_smoothing": 0.1}).fit(films)
    given = ClassifierTrainer(**SMALL, **NARROW, encoder="resnet9", loss=objects["loss"]).fit(films)
    assert weights(named.classifier.encoder) == weights(given.classifier.encoder)
    with pytest.raises(ValueError, match="leave class_weights and loss_options out"):
        ClassifierTrainer(**SMALL, **objects, class_weights="inverse").fit(films)


def test_a_dataset_of_arrays_trains_and_is_embedded():
    patients = [f"p{row // 2}" for row in range(60)]
    for data in (Films(), Films(n_channels=1), Films(classes=["a", "b", "c"], patient_ids=patients)):
        trained = SiameseTrainer(**NARROW, **SIAMESE).fit(data)
        assert trained.card["findings"] == list(getattr(data, "classes", "012"))
        assert ("patients are unknown" in trained.notes[0]) == (not hasattr(data, "patient_ids"))
        embeddings = embed(trained.encoder, data)
        assert [embeddings.class_names.index(str(name)) for name in embeddings.class_names] == [0, 1, 2]
        assert embeddings.class_ids.tolist() == data.labels.tolist()
        n_patients = 60 if not hasattr(data, "patient_ids") else 30
        assert len(np.unique(embeddings.patient_ids)) == n_patients


def test_a_dataset_of_files_trains_as_the_films_themselves(folder, films):
    """PIL images are prepared as films are, so that only the order of the paths could tell them apart."""
    shown = embed(build_encoder("resnet9", image_spec=SPEC, width=4).eval(), ImageFolder(folder))
    known = embed(build_encoder("resnet9", image_spec=SPEC, width=4).eval(), films)
    place = {path: row for row, path in enumerate(known.paths)}
    rows = [place[str(path).removeprefix(f"{folder}/")] for path, _ in ImageFolder(folder).samples]
    np.testing.assert_allclose(shown.vectors, known.vectors[rows], atol=1e-5)
    assert shown.class_names == known.class_names


def test_a_dataset_with_transforms_in_three_channels_and_a_part_of_it(folder):
    steps = [transforms.Resize((32, 32)), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    data = ImageFolder(folder, transform=transforms.Compose(steps))
    even, odd = (Subset(data, range(start, len(data), 2)) for start in (0, 1))
    spec = ImageSpec(size_px=32, n_channels=3)
    settings = {"image_spec": spec, "encoder_options": {"width": 4}}
    trained = SiameseTrainer(**settings, **SIAMESE).fit(even, odd)
    assert trained.card["n_films"] == {"train": len(even), "val": len(odd)}
    assert trained.card["findings"] == data.classes
    normalised = ImageFolder(folder, transform=transforms.Compose([*steps, transforms.Normalize([0.5] * 3, [0.2] * 3)]))
    with pytest.raises(ValueError, match="images are uint8 or of 0..1: leave normalisation out"):
        SiameseTrainer(**settings, **SIAMESE).fit(normalised)
    with pytest.raises(
        ValueError, match=r"images of shape \(3, 32, 32\), the image_spec says 1 x 64 x 64: resize them"
    ):
        SiameseTrainer(image_spec=ImageSpec(size_px=64), **SIAMESE).fit(data)


def test_our_own_dataset_brings_its_patients(films):
    dataset = XrayDataset(cache_films(films, SPEC))
    trained = SiameseTrainer(**NARROW, **SIAMESE).fit(dataset)
    known = SiameseTrainer(**NARROW, **SIAMESE).fit(films)
    assert weights(trained.encoder) == weights(known.encoder)
    assert trained.card["data_hash"] == known.card["data_hash"]
    with pytest.raises(ValueError, match=r"is in .* and in .*split by patient"):
        SiameseTrainer(**NARROW, **SIAMESE).fit(dataset, Subset(dataset, [0, 1]))


class Several(Films):
    """Rows of findings, some of which nobody looked for."""

    classes = ("x", "y", "z")

    def __getitem__(self, row):
        table = np.eye(3)[self.labels[row]]
        table[(self.labels[row] + 1) % 3] = np.nan if row % 4 else 1
        return self.images[row], table


def test_a_dataset_of_several_findings_trains_a_classifier():
    settings = {"encoder": "resnet9", "is_multi_label": True, "loss": nn.BCEWithLogitsLoss(), "monitor": "val_loss"}
    with pytest.raises(FloatingPointError):  # torch's own loss does not leave out what nobody looked for
        ClassifierTrainer(**NARROW, **SMALL, **settings).fit(Several())
    trained = ClassifierTrainer(**NARROW, **SMALL, **settings | {"loss": "bce"}).fit(Several())
    assert trained.classifier.findings == ("x", "y", "z")
    assert trained.classifier.is_multi_label


def test_what_is_no_dataset_of_images_and_labels_is_refused():
    with pytest.raises(ValueError, match="60 items and 3 patient_ids"):
        SiameseTrainer(**NARROW, **SIAMESE).fit(Films(patient_ids=["a", "b", "c"]))
    with pytest.raises(ValueError, match="of a Dataset, give those in image_spec"):
        SiameseTrainer(**NARROW, **SIAMESE, standardisation="scalar").fit(Films())


def test_a_module_embeds_films(films):
    net = network()
    embeddings = embed(net, films, image_spec=SPEC)
    assert embeddings.vectors.shape == (len(films), 6)
    assert embeddings.distance is None
    assert net.training
    with pytest.raises(TypeError, match=f"{CONTAINER} does not say what its images are: give image_spec beside it"):
        embed(net, films)
    image = Image.open(films.root / films[0].path).resize((32, 32))
    assert embed(net.eval(), [(image, "x"), (image, "y")], image_spec=SPEC).class_names == ("x", "y")
