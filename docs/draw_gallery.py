"""Draw the pictures of gallery.md from a run of `fscxr demo`, all on synthetic films.

python docs/draw_gallery.py runs/demo
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent / "images" / "gallery"
WIDEST_PX = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="folder of `fscxr demo`")
    demo = parser.parse_args().demo.resolve()
    manifest, encoder = str(demo / "manifest.csv"), str(demo / "checkpoint")
    HERE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        embedded = str(work / "test.safetensors")
        trained = ("--data", manifest, "--encoder", "resnet9", "--image-size", "64", "--epochs", "10")
        run("train", "siamese", *trained, "--out", str(work / "trained"))  # the demo's encoder has no epochs
        run("embed", "--checkpoint", encoder, "--data", manifest, "--split", "test", "--out", embedded)
        episodes, closed, films = str(demo / "episodes.json"), str(demo / "closed_set.json"), ("--data", manifest)
        plots = {
            "confusion": (episodes,),
            "recall": (episodes,),
            "reliability": (closed,),
            "roc": (closed,),
            "pr": (closed,),
            "learning": (str(work / "trained"),),
            "class-counts": (manifest,),
            "samples": (manifest,),
            "neighbours": (embedded, *films),
            "ranks": (embedded, *films),
            "projection": (embedded,),
            "som": (embedded,),
            "som-distance": (embedded,),
        }
        for kind, inputs in plots.items():
            run("plot", kind, *inputs, "--out", str(work / f"{kind}.png"))
            keep(work / f"{kind}.png", f"{kind}.png")
        heat = work / "heat"
        run("explain", "--checkpoint", encoder, *films, "--n-exemplars", "5", "--overlays", "12", "--out", str(heat))
        keep(heat / "sheets" / "effusion.png", "sheet.png")
        keep(heat / "focus_lungs.png", "focus.png")
        keep(heat / "deletion.png", "deletion.png")
        drawn = (heat / "overlays" / "effusion").glob("*.png")
        keep(max(drawn, key=lambda file: file.stat().st_size), "overlay.png")  # one without heat has little to show


def run(*arguments):
    print("fscxr", *arguments, file=sys.stderr)
    subprocess.run([sys.executable, "-c", "from fewshot_cxr.cli import main; main()", *arguments], check=True)


def keep(picture, name):
    """Copy a picture as small as a page needs it."""
    image = Image.open(picture).convert("RGB")
    image.thumbnail((WIDEST_PX, 10 * WIDEST_PX), Image.Resampling.LANCZOS)
    image.quantize(128, dither=Image.Dither.NONE).save(HERE / name, optimize=True)


if __name__ == "__main__":
    main()
