"""Films from a pandas DataFrame, and a classifier of findings that have many films.

python examples/data_frame.py
"""

import argparse
from tempfile import TemporaryDirectory

import pandas as pd

from fewshot_cxr import ClassifierTrainer, ImageSpec, Records, split_by_patient
from fewshot_cxr.data import cache_films
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.evaluation import decide_by_classifier, evaluate_closed_set
from fewshot_cxr.inference import classify_films


def main(n_patients: int, n_epochs: int) -> None:
    with TemporaryDirectory() as folder:
        made = make_synthetic(folder, n_patients=n_patients, findings=("normal", "effusion", "cardiomegaly"), seed=0)
        frame = pd.DataFrame(
            {
                "path": [film.path for film in made],
                "label": [film.finding for film in made],
                "patient_id": [film.patient_id for film in made],
            }
        )
        films = Records.from_dataframe(frame, root=made.root)
        print(films)
        train, val, test = split_by_patient(films, (0.5, 0.2, 0.3), seed=0)
        spec = ImageSpec(size_px=64)
        trained = ClassifierTrainer(image_spec=spec, n_epochs=n_epochs, batch_size=24).fit(train, val, progress=None)
        logits = classify_films(trained.classifier, cache_films(test, spec))
        result = evaluate_closed_set(decide_by_classifier(trained.classifier.findings, logits, test))
        for name, number in {"accuracy": result.accuracy, **result.per_class_recall}.items():
            print(f"{name}: {number.mean:.3f}, 95 % over patients {number.ci95_patients}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20, help="of each finding")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    main(arguments.patients, arguments.epochs)
