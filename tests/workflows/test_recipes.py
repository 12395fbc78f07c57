import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_layouts import LAYOUTS, lay_image_folder

from fewshot_cxr.data import READERS, read_dataset, write_manifest
from fewshot_cxr.encoders import build_encoder
from fewshot_cxr.evaluation import compare_results, result_from_json
from fewshot_cxr.objectives import LinearHead, WeightedL1Head
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report.result_sections import main_number
from fewshot_cxr.unknown_patients import is_unknown
from fewshot_cxr.workflows.recipes import load_recipe, parse_recipe, parse_setting, recipe_names, run_recipe, settled
from fewshot_cxr.workflows.recipes.division import divide, patient_names, patients_by_part
from fewshot_cxr.workflows.recipes.settings import SplitRules
from fewshot_cxr.workflows.recipes.sources import choose_recipe_findings, read_recipe_films

pytestmark = pytest.mark.usefixtures("unpainted")
NAMES = [
    "covidnet-siamese",
    "covidnet-single",
    "covidnet-single-cropped",
    "resnet9-baseline",
    "resnet9-triplet",
    "effnet",
    "effnet-attention",
    "effnet-triplet",
    "effnet-attention-triplet",
    "chestxray14-densenet121",
    "chestxray14-resnet50",
    "covid-transfer-densenet121",
    "chestxray15",
    "radiography-vgg16",
    "radiography-resnet18",
    "radiography-densenet121",
]
TINY = {"n_batches": 1, "batch_size": 8, "size_px": 32}
# The published numbers of weights are counted above; a run need not carry them.
NARROW = {
    "covidnet": {"training.encoder_options.width": 8},
    "efficientnet_attention": {"training.encoder_options.gate_width": 16},
    "vgg16": {"training.encoder_options.fc_width": 64},
}


def lay_out(root, names):
    return [(name, LAYOUTS[name](root / name)) for name in names]


@pytest.fixture(scope="module")
def coronahack(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    (root / "coronahack").mkdir()
    return lay_out(root, ["coronahack"])


@pytest.fixture
def folders(tmp_path):
    for name in LAYOUTS:
        (tmp_path / name).mkdir()
    return tmp_path


def test_the_recipes_of_the_five_systems_are_there():
    assert sorted(recipe_names()) == sorted([*NAMES, "common-base"])


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_and_every_key_is_one_that_there_is(name):
    recipe = load_recipe(name)
    assert all((recipe.title, recipe.paper, recipe.reported))
    assert recipe.system in range(5)
    assert set(recipe.data) <= set(READERS)
    published = recipe.as_published()
    assert published.sections != recipe.sections
    trials = recipe.for_smoke(published=False), published.for_smoke(published=True)
    for variant in (recipe, published, *trials):
        variant.make_trainer(seed=0)
        assert variant.findings.keep
        assert sum(variant.split.fractions) == pytest.approx(1)
        assert variant.judge.by == ("exemplars" if recipe.trainer == "siamese" else "classifier")
        assert parse_recipe(name, variant.to_toml()).sections == variant.sections
    assert trials[0].image_spec.size_px == 64
    assert trials[1].image_spec.size_px == published.image_spec.size_px
    for trial in trials:
        assert not trial.sections["training"].get("encoder_options", {}).get("pretrained")


def test_what_a_recipe_does_not_name_of_the_augmentation_is_off():
    recipe = load_recipe("covidnet-siamese")
    assert recipe.augmentation.flip == 0
    assert recipe.augmentation.rotation_degrees == 10
    assert recipe.as_published().augmentation is None


def n_weights(recipe, n_classes):
    training = recipe.sections["training"]
    options = {key: value for key, value in training["encoder_options"].items() if key != "pretrained"}
    with torch.device("meta"):
        encoder = build_encoder(training["encoder"], image_spec=recipe.image_spec, **options)
        if recipe.trainer == "classifier":
            head = LinearHead(encoder.embedding_dim, n_classes, bias=training.get("head_bias", True))
        else:
            head = WeightedL1Head(encoder.embedding_dim)
    return sum(weight.numel() for module in (encoder, head) for weight in module.parameters())


@pytest.mark.parametrize(
    ("name", "n_classes", "expected"),
    [
        ("covidnet-siamese", 3, 59_562_417),
        ("covidnet-single", 3, 59_562_931),
        ("resnet9-baseline", 3, 1_645_443),
        ("chestxray14-densenet121", 14, 6_968_192),
        ("radiography-vgg16", 4, 134_276_932),
        ("radiography-resnet18", 4, 11_178_564),
        ("radiography-densenet121", 4, 6_957_956),
    ],
)
def test_published_networks_have_the_published_number_of_weights(name, n_classes, expected):
    assert n_weights(load_recipe(name).as_published(), n_classes) == expected


def test_published_gates_have_the_published_number_of_weights():
    recipe = load_recipe("effnet-attention").as_published()
    options = recipe.sections["training"]["encoder_options"]
    encoder = build_encoder("efficientnet_attention", image_spec=recipe.image_spec, **options)
    assert sum(weight.numel() for weight in encoder.gates.parameters()) == 35_532_802


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1e-4", ("lr", 1e-4)),
        ("n_epochs = 5", ("n_epochs", 5)),
        ("training.averaging=none", ("training.averaging", "none")),
        ("judge.rule=knn", ("judge.rule", "knn")),
        ("pretrained=true", ("pretrained", True)),
        ('findings.keep=["a b", "c"]', ("findings.keep", ["a b", "c"])),
        ("paper=a=b", ("paper", "a=b")),
    ],
)
def test_settings_are_read_as_toml_and_bare_words_as_text(text, expected):
    assert parse_setting(text) == expected


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(ValueError, match="--set n_epochs: key=value was expected, such as --set training.n_epochs=5"):
        parse_setting("n_epochs")


@pytest.mark.parametrize(
    ("key", "value", "kind", "message"),
    [
        ("lrr", 1, ValueError, "unknown key 'lrr' of the recipe (did you mean 'lr'?)"),
        ("training.n_epoch", 1, ValueError, "(did you mean 'training.n_epochs'?)"),
        ("image.sizepx", 64, ValueError, "(did you mean 'image.size_px'?)"),
        ("read.coronahack.clases", "x", ValueError, "(did you mean 'read.coronahack.classes'?)"),
        ("training.seed", 1, ValueError, "unknown key 'training.seed'"),
        ("per_finding", 3, ValueError, "write findings.per_finding or split.per_finding"),
        ("training.lr", "fast", TypeError, "training.lr must be a number, got 'fast'"),
        ("n_epochs", 1.5, TypeError, "training.n_epochs must be a whole number, got 1.5"),
        ("n_epochs", True, TypeError, "training.n_epochs must be a whole number, got True"),
        ("training.patience", "never", TypeError, "training.patience must be a whole number or none, got 'never'"),
        ("split.fractions", 0.5, TypeError, "split.fractions must be a list, got 0.5"),
    ],
)
def test_a_slip_in_a_setting_is_answered_in_one_line(key, value, kind, message):
    with pytest.raises(kind) as caught:
        load_recipe("resnet9-triplet").with_settings({key: value})
    assert message in str(caught.value)


def test_a_setting_may_name_the_last_part_of_its_key_alone():
    recipe = load_recipe("resnet9-triplet").with_settings({"width": 8, "size_px": 48, "patience": "none", "k": 7})
    assert recipe.sections["training"]["encoder_options"]["width"] == 8
    assert recipe.image_spec.size_px == 48
    assert recipe.make_trainer().patience is None
    assert recipe.judge.k == 7


def test_a_given_setting_counts_above_the_published_one_and_the_trial():
    recipe = settled(
        load_recipe("effnet"), published=True, smoke=True, settings={"training.batch_size": 6, "training.lr": 0.5}
    )
    assert recipe.make_trainer().batch_size == 6
    assert recipe.make_trainer().lr == 0.5
    assert recipe.make_trainer().n_batches == 2


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'resnet9-triplet'"):
        load_recipe("resnet9-tripplet")


def test_a_recipe_file_with_a_slip_is_refused():
    text = load_recipe("effnet").text
    with pytest.raises(ValueError, match="unknown key 'training.moniter'"):
        parse_recipe("mine", text.replace("\nmonitor =", "\nmoniter ="))
    with pytest.raises(ValueError, match="recipe mine lacks paper"):
        parse_recipe("mine", text.replace("paper =", "papers ="))


@pytest.mark.slow
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_runs_on_its_own_layout(name, published, folders):
    recipe = load_recipe(name)
    sources = lay_out(folders, recipe.data)
    settings = {**TINY, "size_px": 64 if "covidnet" in name else 72}
    settings |= NARROW.get(recipe.sections["training"]["encoder"], {})
    settings |= {"judge.rank_tables": 1} if recipe.trainer == "siamese" else {}
    out = folders / "run"
    done = run_recipe(recipe, sources, out=out, published=published, smoke=True, settings=settings)
    value = main_number(done.result)[1].mean
    assert value is None or 0 <= value <= 1
    assert json.loads((out / "result.json").read_text())["kind"] in ("closed_set", "multi_label")
    for file in ("split.csv", "recipe.toml", "encoder.safetensors", "card.json", "history.csv"):
        assert (out / file).is_file(), file
    assert {"learning.png", "roc.png"} <= {path.name for path in (out / "figures").iterdir()}
    assert (out / "tables" / "per_class.csv").is_file()


@pytest.mark.slow
def test_one_encoder_is_trained_on_any_of_the_sets(folders):
    """Each set looks for some of the findings; a film of another set is neither an example of them nor against them."""
    recipe = load_recipe("common-base")
    readers = ["chexpert", "padchest", "chestxray14"]
    sources = lay_out(folders, readers)
    films = read_recipe_films(recipe, sources)
    assert {film.attributes["dataset"] for film in films} == set(readers)
    done = run_recipe(recipe, sources, out=folders / "run", smoke=True, settings={**TINY, "size_px": 72})
    assert done.result.kind == "multi_label"
    assert set(done.result.findings) <= set(recipe.findings.keep)
    hernia = next(film for film in films if film.attributes["dataset"] == "chexpert").unstated
    assert "Hernia" in hernia


def test_a_siamese_recipe_from_films_to_figures(coronahack, tmp_path):
    settings = {**TINY, "width": 4, "judge.n_episodes": 20, "judge.rank_tables": 2, "n_epochs": 1}
    done = run_recipe(load_recipe("resnet9-triplet"), coronahack, out=tmp_path / "run", settings=settings)
    split = read_dataset("manifest", tmp_path / "run" / "split.csv")
    assert {film.split for film in split} == {"train", "val", "test"}
    assert all(film.patient_id.startswith("coronahack:") for film in split)
    assert done.n_films == {**done.trained.card["n_films"], "test": done.result.n_films}
    assert done.result.rule == "mean_distance"
    assert done.result.distance == "euclidean"
    lost = len(split) - sum(done.n_films.values())  # damaged films of the layout: each is named
    assert len([note for note in (*done.notes, *done.result.notes) if note.startswith("left out ")]) == lost == 1
    assert set(done.result.baselines) >= {"pixels", "border"}
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert {"confusion.png", "roc.png", "learning.png", "rank_1.png", "rank_2.png"} <= figures
    again = parse_recipe("resnet9-triplet", (tmp_path / "run" / "recipe.toml").read_text())
    assert again.make_trainer(seed=0).settings() == done.trained.card["training"]


@pytest.fixture
def manifest(tmp_path):
    lay_image_folder(tmp_path)
    rows = [
        [f"{finding}/p{number}_1.png", finding, f"{number % 100}-{finding}", "A" if finding == "a" else "B"]
        for at, finding in enumerate("abc")
        for number in range(100 * at, 100 * at + 8)
    ]
    path = tmp_path / "films.csv"
    with path.open("w", newline="") as opened:
        csv.writer(opened).writerows([["path", "label", "patient_id", "source"], *rows])
    return path


@pytest.mark.slow
def test_two_recipes_on_other_films_have_the_same_test_films_and_can_be_compared(manifest, tmp_path):
    results = []
    for name in ("resnet9-triplet", "resnet9-baseline"):
        settings = {**TINY, "width": 4, "n_epochs": 1}
        settings |= {"judge.n_episodes": 0, "judge.rank_tables": 0} if name == "resnet9-triplet" else {}
        done = run_recipe(load_recipe(name), [("manifest", manifest)], out=tmp_path / name, settings=settings)
        assert "these are no films of coronahack: all their findings are taken" in done.notes
        assert done.result.findings == ("a", "b", "c")
        told = [words for words in done.result.warnings if "confounded" in words]
        assert [words.partition(": ")[2].partition(",")[0] for words in told] == ["a only from A"] * 2
        results.append(result_from_json(json.loads((tmp_path / name / "result.json").read_text())))
    assert (tmp_path / "resnet9-triplet" / "split.csv").read_text().splitlines()[1:] == (
        tmp_path / "resnet9-baseline" / "split.csv"
    ).read_text().splitlines()[1:]
    compare_results(*results)


@pytest.mark.slow
def test_a_recipe_that_is_killed_goes_on_as_if_never_stopped(coronahack, tmp_path):
    settings = {**TINY, "width": 4, "n_epochs": 3}
    recipe = load_recipe("resnet9-baseline")
    whole = run_recipe(recipe, coronahack, out=tmp_path / "whole", settings=settings)
    run_recipe(recipe, coronahack, out=tmp_path / "cut", settings={**settings, "training.max_minutes": 1e-6})
    again = run_recipe(recipe, coronahack, out=tmp_path / "cut", settings=settings, resume=True)
    assert again.result.to_json() == whole.result.to_json()
    assert len(again.trained.history) == 3


def test_films_of_a_recipe_with_two_data_sets_need_both(folders):
    sources = lay_out(folders, ["chestxray14"])
    with pytest.raises(ValueError, match="for chestxray14 and covid_chestxray: add --data covid_chestxray:PATH"):
        read_recipe_films(load_recipe("chestxray15"), sources)


def test_the_fifteen_findings_say_what_nobody_looked_for(folders):
    recipe = load_recipe("chestxray15")
    sources = lay_out(folders, recipe.data)
    films = choose_recipe_findings(recipe, read_recipe_films(recipe, sources), recipe.data, seed=0)
    assert films.findings == ("COVID-19", "Effusion", "Mass")
    for film in films:
        if film.attributes["dataset"] == "chestxray14":
            assert film.findings
            assert not film.unstated
        else:
            assert set(film.findings) <= {"COVID-19"}
            assert set(film.unstated) == {"Effusion", "Mass"}
    assert any(not film.findings for film in films)


def test_so_many_films_of_a_finding_are_drawn_by_seed(folders):
    recipe = load_recipe("chestxray15").with_settings({"findings.per_finding": 3})
    sources = lay_out(folders, recipe.data)
    read = read_recipe_films(recipe, sources)
    one, same, other = (choose_recipe_findings(recipe, read, recipe.data, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.films != other.films
    counts = one.count_findings()
    assert counts["COVID-19"] == 3
    assert max(counts["Mass"], counts["Effusion"]) <= 4  # a film of both counts for the rarer


def test_the_other_findings_of_covid_transfer_are_one(folders):
    recipe = load_recipe("covid-transfer-densenet121")
    sources = lay_out(folders, recipe.data)
    films = choose_recipe_findings(recipe, read_recipe_films(recipe, sources), recipe.data, seed=0)
    assert films.count_findings() == {"COVID-19": 9, "other": 16}  # one of them turns out cut short


def films_of(patients, splits, root=Path("films")):
    rows = zip(patients, splits, strict=True)
    films = [
        Record(f"{at}.png", ("ab"[at % 2],), patient_id=patient, split=split)
        for at, (patient, split) in enumerate(rows)
    ]
    return Records(tuple(films), root)


def patients_of(part):
    return {film.patient_id for film in part}


def test_stated_splits_stay_and_validation_is_carved_by_patient():
    names = [f"p{at // 4}" for at in range(80)]
    films = films_of(names, ["test" if at >= 60 else "train" for at in range(80)])
    parts = divide(films, SplitRules(official=True), own=("",), seed=0)
    assert patients_of(parts.test) == {f"p{at}" for at in range(15, 20)}
    assert len(parts.val)
    assert not patients_of(parts.train) & patients_of(parts.val)
    again = divide(films, SplitRules(official=False), own=("",), seed=0)
    assert patients_of(again.test) != patients_of(parts.test)


def test_fixed_counts_of_each_finding():
    films = films_of([f"p{at}" for at in range(80)], [None] * 80)
    parts = divide(films, SplitRules(per_finding=(5, 6)), own=("",), seed=0)
    assert parts.val.count_findings() == {"a": 5, "b": 5}
    assert parts.test.count_findings() == {"a": 6, "b": 6}


def test_patients_of_the_run_before_stay_in_their_part():
    names = [f"p{at // 2}" for at in range(80)]
    films = films_of(names, [None] * 40 + ["train"] * 20 + ["test"] * 20)
    before = {"p0": "train", "p1": "val", "p2": "test", "p20": "train", "p21": "val", "p30": "test"}
    parts = divide(films, SplitRules(), own=("",), seed=0, before=before)
    assert {"p0", "p20"} <= patients_of(parts.train)
    assert {"p1", "p21"} <= patients_of(parts.val)
    assert {"p2", "p30"} <= patients_of(parts.test)


def test_a_test_patient_that_the_run_before_trained_on_is_refused():
    films = films_of([f"p{at // 2}" for at in range(80)], ["train"] * 60 + ["test"] * 20)
    before = {"p31": "train", "p32": "train", "stranger": "train", "p33": "test"}
    with pytest.raises(ValueError, match=r"was trained on 2 of the patients .* \(--keep-out split.csv of this split\)"):
        divide(films, SplitRules(), own=("",), seed=0, before=before)


def test_patients_to_keep_out_are_in_no_training():
    films = films_of([f"p{at // 2}" for at in range(80)], ["train"] * 60 + ["test"] * 20)
    before = divide(films, SplitRules(), own=("",), seed=0)
    shut = [*sorted(patients_of(before.train))[:2], sorted(patients_of(before.test))[0]]
    parts = divide(films, SplitRules(), own=("",), seed=0, keep_out=shut)
    assert patients_of(parts.out) == set(shut[:2])
    assert shut[2] in patients_of(parts.test)
    assert any("4 films of patients to keep out" in note for note in parts.train.notes)
    assert {film.split for film in parts.together()} == {"train", "val", "test", None}


def test_patients_are_read_from_a_manifest_whose_films_are_gone(tmp_path):
    rows = ["a.png,x,,n:1,train", "b.png,x,g,n:2,test", "c.png,x,,,val", "d.png,x,,n:4,"]
    lines = ['# {"seed": 0}', "path,label,group_id,patient_id,split", *rows, ""]
    (tmp_path / "split.csv").write_text("\n".join(lines))
    expected = {"n:1": "train", "n:2": "test", "g": "test", "c.png": "val"}
    assert patients_by_part(tmp_path) == expected
    assert patients_by_part(tmp_path / "split.csv") == expected


@pytest.mark.slow
def test_a_transfer_begins_with_the_weights_and_the_split_of_the_run_before(folders):
    tiny = {**TINY, "n_epochs": 1}
    first, second = load_recipe("resnet9-baseline"), load_recipe("resnet9-baseline")
    sources = lay_out(folders, ["coronahack"])
    before = run_recipe(first, sources, out=folders / "first", settings={**tiny, "width": 4})
    after = run_recipe(
        second,
        sources,
        out=folders / "second",
        settings={**tiny, "width": 4, "lr": 1e-12, "averaging": "none", "weight_decay": 0.0},
        start_from=folders / "first",
        seed=5,
    )
    assert patients_by_part(folders / "first") == patients_by_part(folders / "second")
    weights = [run.trained.classifier.encoder.backbone[0][0].weight for run in (before, after)]
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=0)
    assert after.trained.card["training"]["encoder_options"]["weights"].startswith("encoder.safetensors (sha256")


def test_what_other_films_state_is_kept_whatever_the_recipe_does_with_its_own():
    films = films_of([f"p{at // 2}" for at in range(80)], ["train"] * 40 + ["test"] * 40)
    parts = divide(films, SplitRules(official=False), own=("coronahack",), seed=0)
    assert {film.path for film in parts.test} == {film.path for film in films if film.split == "test"}
    mixed = divide(films, SplitRules(official=False), own=("",), seed=0)
    assert {film.path for film in mixed.test} != {film.path for film in parts.test}


def test_films_without_patients_have_one_name_however_they_are_read(folders):
    recipe = load_recipe("effnet")
    (own,) = lay_out(folders, ["covid19_radiography"])
    alone = read_recipe_films(recipe, [own])
    beside = read_recipe_films(recipe, [own, *lay_out(folders, ["image_folder"])])
    names = {patient_names(film) for film in alone}
    assert len(names) == len(alone) == sum(map(is_unknown, alone))
    assert names < {patient_names(film) for film in beside}
    write_manifest(beside.each(lambda film: replace(film, split="val")), folders / "split.csv")
    assert {frozenset((name,)) for name in patients_by_part(folders / "split.csv")} >= names
    assert {patient_names(film) for film in read_recipe_films(recipe, [("manifest", folders / "split.csv")])} >= names


def test_names_that_meet_no_film_are_told():
    films = films_of([f"p{at // 2}" for at in range(80)], [None] * 80)
    parts = divide(films, SplitRules(), own=("",), seed=0, before={"x": "train"}, keep_out=["y"])
    assert [note for note in parts.train.notes if note.startswith("no patient")] == [
        "no patient of the run to start from is among these films, as far as their names tell",
        "no patient to keep out is among these films, as far as their names tell",
    ]


def test_a_refused_resume_leaves_the_folder_as_it_was(coronahack, tmp_path):
    settings = {**TINY, "width": 4, "judge.n_episodes": 0, "n_epochs": 1, "judge.rank_tables": 0}
    run_recipe(load_recipe("resnet9-triplet"), coronahack, out=tmp_path, settings=settings)
    kept = {name: (tmp_path / name).read_text() for name in ("split.csv", "recipe.toml")}
    with pytest.raises(ValueError, match="was made with another"):
        run_recipe(load_recipe("resnet9-triplet"), coronahack, out=tmp_path, settings=settings, seed=3, resume=True)
    assert kept == {name: (tmp_path / name).read_text() for name in kept}


def test_findings_to_augment_that_are_not_there_leave_nothing_augmented(manifest, tmp_path):
    settings = {**TINY, "width": 4, "n_epochs": 1}
    published = load_recipe("resnet9-baseline").as_published()
    done = run_recipe(published, [("manifest", manifest)], out=tmp_path / "run", settings=settings)
    assert done.trained.card["training"]["augmentation"] is None
    assert "no film is augmented: the recipe augments COVID-19 alone, and none is here" in done.notes
    asked = {**settings, "augment_findings": ["nope"]}
    with pytest.raises(ValueError, match="unknown finding to augment 'nope'"):
        run_recipe(published, [("manifest", manifest)], out=tmp_path / "other", settings=asked)


def test_a_run_to_start_from_counts_above_a_whole_table_of_options(tmp_path):
    recipe = load_recipe("resnet9-baseline")
    settings = {"training.encoder_options": {"output": "pooled"}}
    options = settled(recipe, settings=settings, start_from=tmp_path).sections["training"]["encoder_options"]
    assert options == {"output": "pooled", "weights": str(tmp_path / "encoder.safetensors")}


def test_a_test_film_that_training_does_not_know_is_told(manifest, tmp_path):
    rows = list(csv.reader(manifest.read_text().splitlines()))
    for at, row in enumerate(rows):
        row.append("split" if at == 0 else ("train", "train", "val", "test")[at % 4])
    rows[3][1] = "new"
    with manifest.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)
    settings = {**TINY, "width": 4, "n_epochs": 1}
    done = run_recipe(
        load_recipe("resnet9-baseline"), [("manifest", manifest)], out=tmp_path / "run", settings=settings
    )
    assert done.n_films["test"] == done.result.n_films == sum(row[-1] == "test" for row in rows) - 1
    assert "left out, 1 films that training does not know: new" in done.result.notes
