"""What the commands write and print on synthetic films, as goldens: made here, kept in tests/goldens.

`PYTHONPATH=tests python tests/made_goldens.py FOLDER` writes them anew; `diff -r` shows a change to the last digit.
"""

import contextlib
import io
import json
import os
import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from command_line import run
from made_layouts import lay_coronahack
from made_pictures import blank_pictures

from fewshot_cxr.data import split_by_patient, write_manifest
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import build_encoder, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import Classifier, classifier_head_card
from fewshot_cxr.objectives import LinearHead
from fewshot_cxr.records import Records
from fewshot_cxr.torch_seeding import seeded_torch
from fewshot_cxr.whole_files import write_json, write_text

FINDINGS = ("normal", "effusion", "cardiomegaly", "lobar_consolidation")
KNOWN, NEW = FINDINGS[:2], FINDINGS[2:]
RECIPES = ("covidnet-siamese", "resnet9-triplet", "effnet-attention", "chestxray15", "radiography-vgg16")
# They are other ones every day or on every machine.
VOLATILE = {"made_by", "versions", "date", "machine", "seconds", "episodes_per_second", "loss", "grad_norm"}
TINY = ("n_batches=1", "batch_size=8", "size_px=32", "training.n_epochs=1", "width=4", "n_episodes=10")
TINY += ("judge.rank_tables=1", "judge.n_shot=1")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
ON_ONE_THREAD = ("--threads", 1, "--device", "cpu")
# Of the untrained network 1 - cosine is about 0.004, where what a processor rounds decides which film ranks first; by
# this seed no two distances that are ranked are within 2e-7.
SEVERAL = ("--multi-label", "--data", "several.csv", "--distance", "euclidean", "--seed", 4)


def make_goldens(folder: Path, out: Path) -> None:
    """Run the commands in `folder`, which is empty, and write what they gave into `out`."""
    lay_films(folder)
    save_networks(folder)
    before = Path.cwd()
    os.chdir(folder)  # relative paths stand in texts, and are the same everywhere
    try:
        made = Path("made")
        made.mkdir()
        for name, arguments in _commands(made).items():
            # A report says how large its page is; of all else pictures are not kept.
            with nullcontext() if name.startswith("report") else blank_pictures():
                text = steady_text(_printed(arguments))
            if name == "recipe_run":  # which floors a run passes differs between processors too
                text = NUMBER.sub("N", re.sub(r"(?m)^warning: .*\n", "", text))
            _write(out / "printed" / f"{name}.txt", text)
        _keep(made, out)
    finally:
        os.chdir(before)


def lay_films(folder):
    parts = split_by_patient(
        make_synthetic(folder, n_patients=12, findings=FINDINGS, size_px=48), (0.4, 0.2, 0.4), seed=0
    )
    films = [film for part in parts for film in part]
    several = [
        replace(film, findings=tuple(dict.fromkeys((film.finding, FINDINGS[number % len(FINDINGS)]))))
        for number, film in enumerate(films)
    ]
    for name, some in (("split.csv", films), ("several.csv", several)):
        write_manifest(Records(tuple(some), folder), folder / name, header={"seed": 0})
    (folder / "coronahack").mkdir()
    lay_coronahack(folder / "coronahack")


def save_networks(folder):
    for name, seed, distance in (("run", 0, "cosine"), ("other", 1, "euclidean")):
        with seeded_torch(seed, "weights"):
            encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4, embedding_dim=8)
        card = {"distance": distance, "findings": sorted(KNOWN), "encoder": encoder.recipe}
        card |= {"image_spec": encoder.image_spec.to_json(), "training": {"seed": seed}}
        card |= {"n_films": {"train": 9}, "n_patients": {"train": 5}}
        save_encoder(encoder, folder / name / "encoder.safetensors", card=card)
        write_json(folder / name / "card.json", card)
        write_text(folder / name / "history.csv", "epoch,loss,val_accuracy\n1,0.7,0.4\n2,0.5,\n")
    for name, activation in (("one", "softmax"), ("several", "sigmoid")):
        with seeded_torch(2, "weights"):
            encoder = build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4, output="pooled")
            head = LinearHead(encoder.embedding_dim, len(FINDINGS), activation=activation)
        classifier = Classifier(encoder, head, FINDINGS)
        card = {"head": classifier_head_card(classifier), "training": {"is_multi_label": activation == "sigmoid"}}
        save_encoder(encoder, folder / f"{name}.safetensors", card=card, head=head.state_dict())


def _commands(made):
    """Return name -> arguments of each command; some read what one before them wrote."""
    on_test = ("--data", "split.csv", "--split", "test", *ON_ONE_THREAD)
    episodes = ("episode-eval", *on_test, "--n-shot", 2, "--n-query", 2, "--n-episodes", 60)
    closed, several = ("evaluate", *on_test), ("evaluate", "--data", "several.csv", "--split", "test", *ON_ONE_THREAD)
    novel = ("--protocol", "novel", "--novel", ",".join(NEW), "--unknown", "effusion")
    films = ("--data", "split.csv", "--split", "test", "--support-split", "train")
    heat = ("--overlays", 1, "--deletion", 3, "--masks", "masks")
    commands = {
        "episodes_closed": (*episodes, "--checkpoint", "run", "--calibrate-split", "val"),
        "episodes_closed_other": (*episodes, "--checkpoint", "other", "--rule", "prototype"),
        "episodes_novel": (*episodes, "--checkpoint", "run", *novel, "--no-patient-interval"),
        "episodes_generalized": (*episodes, "--checkpoint", "run", "--protocol", "generalized", "--n-way", 3),
        "episodes_several": (*episodes, "--checkpoint", "run", *SEVERAL),
        "closed_exemplars": (*closed, "--checkpoint", "run", "--calibrate-split", "val"),
        "closed_other": (*closed, "--checkpoint", "other", "--rule", "knn", "--n-exemplars", 3),
        "closed_classifier": (*closed, "--classifier", "one.safetensors", "--calibrate-split", "val"),
        "closed_predictions": ("evaluate", "--predictions", made / "predictions.csv"),
        "several_classifier": (*several, "--classifier", "several.safetensors"),
        "several_some": (*several, "--classifier", "several.safetensors", "--data", "split.csv"),
        "audit": ("data", "audit", "split.csv"),
        "explain": ("explain", "--checkpoint", "run", "--versus", "other", "--data", "split.csv", *heat),
        "predict": ("predict", "films/effusion", "--checkpoint", "run", "--support", "split.csv", "--n-exemplars", 3),
        "read": ("data", "read", "films"),
    }
    (made / "predictions.csv").write_text(
        "path,finding,patient_id,a,b\n"
        + "".join(
            f"{n}.png,{'ab'[n % 3 == 0]},{n // 2},{0.1 * (n % 9 + 1):.1f},{0.9 - 0.1 * (n % 9):.1f}\n"
            for n in range(24)
        ),
        encoding="utf-8",
    )
    commands = {name: (*words, "--json", made / f"{name}.json") for name, words in commands.items() if name != "read"}
    commands["explain"] += ("--out", made / "heat", *ON_ONE_THREAD)
    commands["audit"] += ("--html", made / "audit.html")
    for name in ("closed", "novel", "several"):
        html, table = made / f"episodes_{name}.html", made / f"episodes_{name}.csv"
        commands[f"episodes_{name}"] += ("--html", html, "--csv", table)
    for name, pair in {
        "episodes": ("episodes_closed", "episodes_closed_other"),
        "closed": ("closed_exemplars", "closed_other"),
        "several": ("several_classifier", "several_classifier"),
    }.items():
        results = tuple(made / f"{one}.json" for one in pair)
        commands[f"compare_{name}"] = ("compare", *results, "--json", made / f"compare_{name}.json")
        commands[f"report_{name}"] = ("report", "run", *dict.fromkeys(results), "--out", made / f"report_{name}.html")
    commands["report_closed"] += (*films, *ON_ONE_THREAD)
    for name in RECIPES:
        commands[f"recipe_{name}"] = ("recipes", "show", name)
        commands[f"recipe_{name}_published"] = ("recipes", "show", name, "--published")
    tiny = tuple(word for one in TINY for word in ("--set", one))
    recipe = ("recipes", "run", "resnet9-triplet", "--data", "coronahack:coronahack", *tiny, "--threads", 1)
    commands["recipe_run"] = (*recipe, "--out", made / "recipe")
    return commands


def _printed(arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = run(*arguments)
    assert code == 0, (arguments, errors.getvalue())
    return f"{out.getvalue()}--- standard error\n{errors.getvalue()}"


def _keep(made, out):
    """Keep texts; of tables and pages of a trained recipe the form alone, for its numbers differ between processors."""
    for file in sorted(made.rglob("*")):
        place = out / file.relative_to(made)
        of_recipe = "recipe" in file.parts
        if file.suffix == ".json":
            value = _steady(json.loads(file.read_text(encoding="utf-8")))
            _write(place, json.dumps(_form(value) if of_recipe else value, indent=1, ensure_ascii=False) + "\n")
        elif file.suffix == ".html":
            _write(place, bare_page(file.read_text(encoding="utf-8")))
        elif file.suffix == ".csv":
            text = steady_text(file.read_text(encoding="utf-8"))
            _write(place, text.splitlines()[0] + "\n" if of_recipe else text)
    names = (file.relative_to(made).as_posix() for file in sorted(made.rglob("*")) if file.is_file())
    _write(out / "files.txt", re.sub(r"tfevents.*", "tfevents", "".join(f"{name}\n" for name in names)))


def bare_page(html: str) -> str:
    """Return a page without its style, scripts and pictures."""
    html = re.sub(r"<(style|script|svg)\b.*?</\1>", r"<\1/>", html, flags=re.DOTALL)
    return steady_text(re.sub(r'"data:[^"]+"', '"data:"', html))


def steady_text(text: str) -> str:
    """Return a text without what is another every day, on every machine or in every folder."""
    text = text.replace(f"{Path.cwd()}/", "")
    text = re.sub(r'("root_key": )"[^"]*"', r'\1"..."', text)
    text = re.sub(r"[\d,]+( episodes/s| episodes per second)", r"N\1", text)
    text = re.sub(r"(<dt>(?:seconds|date|python|torch|numpy|scikit-learn|machine|versions)</dt><dd>)[^<]*", r"\1", text)
    return re.sub(r", in \d+ s\b", ", in N s", text)


def _steady(value):
    if isinstance(value, dict):
        return {key: _steady(one) for key, one in value.items() if key not in VOLATILE}
    return [_steady(one) for one in value] if isinstance(value, list) else value


def _form(value):
    """Return a value with its numbers told by their type alone, and of a list the first item."""
    if isinstance(value, dict):
        return {key: [] if key == "warnings" else _form(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_form(one) for one in value[:1]]
    return value if isinstance(value, str) and not re.fullmatch(r"[0-9a-f]{40,}", value) else type(value).__name__


def _write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        make_goldens(Path(place), Path(sys.argv[1]).absolute())
