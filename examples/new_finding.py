"""A new finding arrives with five films: classify with it at once, without training again.

    python examples/new_finding.py

Draws its own films. With films of yours, replace `make_synthetic` by `read_dataset("manifest", "films.csv")`.
"""

import argparse
from tempfile import TemporaryDirectory

from fewshot_cxr import ImageSpec, SiameseTrainer, embed, evaluate_episodes, split_by_patient
from fewshot_cxr.data.synthetic import make_synthetic

NEW = "effusion"


def main(n_patients: int, n_epochs: int) -> None:
    with TemporaryDirectory() as folder:
        films = make_synthetic(folder, n_patients=n_patients, seed=0)
        train, val, test = split_by_patient(films, (0.5, 0.2, 0.3), seed=0)
        known = [part.where(lambda film: film.finding != NEW) for part in (train, val)]
        trainer = SiameseTrainer(image_spec=ImageSpec(size_px=64), n_epochs=n_epochs, seed=0)
        trained = trainer.fit(*known)
        embeddings = embed(trained.encoder, test)
        for n_shot in (1, 5):
            result = evaluate_episodes(
                embeddings,
                protocol="generalized",
                seen=trained.card["findings"],
                n_shot=n_shot,
                n_query=5,
                if_too_small="shrink_query",
                distance=trainer.distance,
                seed=0,
            )
            for name, found in (("accuracy", result.accuracy), (f"recall of {NEW}", result.per_class_recall[NEW])):
                low_high = found.ci95_patients  # None where too few patients are behind the number
                told = f"95 % over patients {low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else found.reason
                print(f"{n_shot}-shot: {name} {found.mean:.3f}, {told}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=60, help="of each finding")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    main(arguments.patients, arguments.epochs)
