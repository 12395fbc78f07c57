"""Burnt-in text: how many marked films `burnt_in_text` finds, and how many clean ones it accuses.

    python benchmarks/burnt_in_text.py [--films 600] [--seed 2026] [--size-px 256]

Every synthetic film is drawn twice: clean, and with one text of random wording, font size, corner or edge, and gray. A
text differs from what lies under it by at least MINIMUM_CONTRAST grays; a fainter one a reader would miss as well.
"""

import argparse
import os
import platform
import sys
from datetime import date
from statistics import median
from time import perf_counter
from unittest.mock import patch

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import stats

from fewshot_cxr.data.synthetic import SCANNERS, SYNTHETIC_FINDINGS, draw_film
from fewshot_cxr.evaluation.audit.burnt_in import burnt_in_text

RECALL_GOAL, FALSE_ALARM_GOAL = 0.90, 0.05
MINIMUM_CONTRAST = 60
WORDS = ("R", "L", "PA", "AP", "R AP", "PORTABLE", "SUPINE", "ERECT 10:42", "12.03.2020", "PA ERECT", "ID 4711", "L 2")
KINDS = ("plain", "boxed", "label")


def clean_film(draw, size_px):
    """Draw a synthetic film without the marker that every scanner puts on one side."""
    number = int(draw.integers(10**6))
    finding, source = str(draw.choice(SYNTHETIC_FINDINGS)), str(draw.choice(sorted(SCANNERS)))
    halves = []
    for letter in "LR":
        # The letter is the last thing drawn: two films that differ in it alone have a clean half each.
        with patch("fewshot_cxr.data.synthetic.films.draw_marker", return_value=letter):
            halves.append(draw_film(finding, seed=7, patient=number, film=0, source=source, size_px=size_px))
    is_left = np.arange(size_px) < size_px // 2
    return np.where(is_left, *halves)


def marked_film(film, draw):
    """Return a copy with one text near a border, and a description of that text."""
    size_px = len(film)
    words, kind = str(draw.choice(WORDS)), str(draw.choice(KINDS, p=(0.7, 0.2, 0.1)))
    height = max(7.0, size_px * draw.uniform(0.03, 0.08 if len(words) < 3 else 0.045))
    font = ImageFont.load_default(height)
    left, top, right, bottom = font.getbbox(words)
    margin = 0.02 * size_px
    room_x, room_y = size_px - (right - left) - 2 * margin, size_px - (bottom - top) - 2 * margin
    across = margin + room_x * (draw.random() ** 2 * 0.5 if draw.random() < 0.5 else 1 - draw.random() ** 2 * 0.5)
    down = margin + room_y * (draw.random() * 0.18 if draw.random() < 0.75 else 1 - draw.random() * 0.10)
    place = (int(across), int(down))
    marked = Image.fromarray(film)
    box = [place[0] - 3, place[1] - 3, place[0] + right - left + 3, place[1] + bottom - top + 3]
    gray = _gray(film[place[1] : int(box[3]), place[0] : int(box[2])], kind, draw)
    pen = ImageDraw.Draw(marked)
    if kind != "plain":
        pen.rectangle(box, fill=5 if kind == "boxed" else 250)
    pen.text((place[0] - left, place[1] - top), words, fill=gray, font=font)
    return np.asarray(marked), f"{words!r} {kind} {height:.0f} px gray {gray}"


def _gray(under, kind, draw):
    """Choose a gray for the letters that can be read on what lies under them."""
    if kind != "plain":
        return int(draw.integers(150, 256)) if kind == "boxed" else int(draw.integers(0, 60))
    brightest = np.percentile(under, 90)
    if brightest <= 255 - MINIMUM_CONTRAST:
        return int(draw.integers(int(brightest) + MINIMUM_CONTRAST, 256))
    return max(0, int(draw.integers(0, max(1, int(np.percentile(under, 10)) - MINIMUM_CONTRAST))))


def measure(n_films, seed, size_px):
    """Return (found on marked films, found on clean films, seconds per film), and list what was missed."""
    draw = np.random.default_rng(seed)
    found, accused, seconds, missed = [], [], [], []
    for _ in range(n_films):
        film = clean_film(draw, size_px)
        marked, description = marked_film(film, draw)
        start = perf_counter()
        found.append(bool(burnt_in_text(marked)))
        seconds.append(perf_counter() - start)
        accused.append(bool(burnt_in_text(film)))
        if not found[-1]:
            missed.append(description)
    return found, accused, seconds, missed


def share(hits):
    """Say a share with its 95 % Wilson interval."""
    interval = stats.binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return f"{100 * np.mean(hits):5.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def main():
    """Print both shares, and end with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=600)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--missed", action="store_true", help="list the texts that were missed")
    arguments = parser.parse_args()
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, seed {arguments.seed}, "
        f"{arguments.films} films of {arguments.size_px} px, each with and without a text\n"
    )
    found, accused, seconds, missed = measure(arguments.films, arguments.seed, arguments.size_px)
    print(f"recall        {share(found)}   goal >= {RECALL_GOAL:.0%}")
    print(f"false alarms  {share(accused)}   goal <= {FALSE_ALARM_GOAL:.0%}")
    print(f"median time   {1000 * median(seconds):5.1f} ms per film")
    if arguments.missed:
        print("\n".join(missed))
    if np.mean(found) < RECALL_GOAL or np.mean(accused) > FALSE_ALARM_GOAL:
        sys.exit("a goal is missed")


if __name__ == "__main__":
    main()
