"""Seconds for one forward and backward pass of 48 films, by encoder: what makes an epoch long.

    python benchmarks/training_step.py [--size 96]

Compare rows of one run with each other, not with a run on another machine or day.
"""

import argparse
import platform
import time
from datetime import date
from statistics import median

import torch

from fewshot_cxr import ImageSpec, build_encoder
from fewshot_cxr.inference import native_precision

ENCODERS = {
    "resnet9": ("resnet9", {}),
    "resnet9, stem_pool=1": ("resnet9", {"stem_pool": 1}),
    "resnet9, width=64": ("resnet9", {"width": 64}),
    "timm:resnet18": ("timm:resnet18", {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    is_mixed = native_precision(torch.device("cpu")) == "bf16-mixed"
    print(
        f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, {arguments.size} px, bf16 {is_mixed}"
    )
    images = torch.rand(48, 1, arguments.size, arguments.size).to(memory_format=torch.channels_last)
    first = None
    for name, (encoder_name, options) in ENCODERS.items():
        encoder = build_encoder(encoder_name, image_spec=ImageSpec(size_px=arguments.size), **options)
        encoder = encoder.to(memory_format=torch.channels_last)
        seconds = []
        for _ in range(arguments.repeats + 1):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
                embeddings = encoder(images)
            embeddings.float().sum().backward()
            seconds.append(time.perf_counter() - start)
        step = median(seconds[1:])
        first = first or step
        print(f"{name:24s} {step:7.3f} s   {step / first:5.2f} x")


if __name__ == "__main__":
    main()
