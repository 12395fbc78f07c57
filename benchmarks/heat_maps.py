"""What Grad-CAM of a batch costs beside one forward pass of it, medians of one run; the goal is at most 3.5x.

    python benchmarks/heat_maps.py [--encoder resnet9 densenet121 resnet50] [--films 64] [--size 224]

Compare ratios, not seconds of another machine or day. `inner layer` maps a layer in the midst of the network, behind
which everything is run backward; `pair` maps both films of each pair, and is set against one forward pass of both.
"""

import argparse
import platform
import time
from collections.abc import Callable
from datetime import date
from statistics import median

import torch

from fewshot_cxr import ImageSpec, build_encoder
from fewshot_cxr.explain import ClassScore, grad_cam, map_layers, pair_maps
from fewshot_cxr.objectives import LinearHead

GOAL = 3.5


def timed(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each, the median of rounds in which they take turns; one round before fills the caches."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: median(seconds[1:]) for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", nargs="+", default=["resnet9", "densenet121", "resnet50"])
    parser.add_argument("--films", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    print(f"{date.today()}, {machine}, {arguments.films} films of {arguments.size} px, goal at most {GOAL}x\n")
    print("| encoder | forward s | Grad-CAM s | ratio | inner layer | ratio | pair ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    images = torch.rand(arguments.films, 1, arguments.size, arguments.size).to(memory_format=torch.channels_last)
    other = images.flip(3)
    for name in arguments.encoder:
        encoder = build_encoder(name, image_spec=ImageSpec(size_px=arguments.size)).eval()
        target = ClassScore(LinearHead(encoder.embedding_dim, 3), 0)
        layers = map_layers(encoder, images[:1])
        layer = layers[len(layers) // 2]

        def forward(encoder=encoder):
            with torch.inference_mode():
                encoder(images)

        seconds = timed(
            {
                "forward": forward,
                "features": lambda encoder=encoder, target=target: grad_cam(encoder, images, target),
                "inner": lambda encoder=encoder, target=target, layer=layer: grad_cam(
                    encoder, images, target, layer=layer
                ),
                "pair": lambda encoder=encoder: pair_maps(encoder, images, other),
            },
            arguments.repeats,
        )
        ratios = {work: seconds[work] / seconds["forward"] for work in seconds}
        print(
            f"| {name} | {seconds['forward']:.2f} | {seconds['features']:.2f} | {ratios['features']:.2f} "
            f"| {layer} | {ratios['inner']:.2f} | {ratios['pair'] / 2:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
