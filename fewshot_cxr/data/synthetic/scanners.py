"""From attenuation to gray values: each source has its own machine, with its own curve, sharpness, noise and marker."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from fewshot_cxr.data.synthetic.anatomy import Plane
from fewshot_cxr.seeding import generator

# Strokes of the two letters in a box of 1 x 1, row downwards.
_BOWL = ((0.0, 0.0), (0.5, 0.0), (0.65, 0.12), (0.65, 0.38), (0.5, 0.5), (0.0, 0.5))
_LETTERS = {"L": ((0.0, 0.0), (0.0, 1.0), (0.65, 1.0)), "R": ((0.0, 1.0), *_BOWL, (0.3, 0.5), (0.7, 1.0))}


@dataclass(frozen=True, slots=True)
class Scanner:
    """One machine: blur and borders are shares of the film's side, noise is in gray values 0..1."""

    name: str
    contrast: float
    blur: float
    noise: float
    gamma: float = 1.0
    sharpening: float = 0.0
    border: float = 0.0
    border_gray: float = 0.0
    marker_gray: float = 1.0
    is_marker_boxed: bool = False
    is_portable: bool = False


SCANNERS = {
    "hospital_a": Scanner("digital detector", contrast=1.08, blur=0.002, noise=0.012, sharpening=0.5),
    "hospital_b": Scanner(
        "computed radiography",
        contrast=0.97,
        blur=0.0045,
        noise=0.022,
        gamma=0.88,
        sharpening=0.2,
        border=0.015,
        border_gray=0.03,
        marker_gray=0.95,
        is_marker_boxed=True,
    ),
    "hospital_c": Scanner(
        "portable unit",
        contrast=0.90,
        blur=0.006,
        noise=0.034,
        gamma=1.14,
        border=0.025,
        marker_gray=0.9,
        is_portable=True,
    ),
}


def draw_marker(seed: int, patient: int, film: int) -> str:
    """Draw which side of the patient the technician marked on a film."""
    return "L" if generator(seed, "marker", patient, film).random() < 0.7 else "R"


def develop(attenuation: Plane, scanner: Scanner, marker: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Expose and process one film: window, curve, sharpness, noise, collimation and the side marker.

    Args:
        attenuation: what the beam met, about 0..1, shape (size_px, size_px).
        scanner: the machine.
        marker: "L" or "R", which side of the patient the letter marks.
        rng: the chance of this film.
    """
    size_px = len(attenuation)
    blurred = ndimage.gaussian_filter(attenuation, scanner.blur * size_px * rng.uniform(0.8, 1.4), truncate=2.5)
    if scanner.sharpening:
        # Digital machines lift local contrast: what differs from its wide surroundings is drawn stronger.
        wide = Image.fromarray(blurred).reduce(8).resize((size_px, size_px), Image.Resampling.BICUBIC)
        blurred = blurred + np.float32(scanner.sharpening * rng.uniform(0.6, 1.2)) * (blurred - np.asarray(wide))
    darkest, brightest = rng.uniform(-0.02, 0.05), rng.uniform(0.92, 1.02)
    gray = np.clip((blurred - darkest) / (brightest - darkest), 0.0, 1.0).astype(np.float32)
    gray **= np.float32(scanner.gamma * np.exp(rng.uniform(-0.10, 0.10)))
    middle, slope = 0.5 + rng.uniform(-0.03, 0.03), scanner.contrast * rng.uniform(0.92, 1.08)
    gray = 0.5 + np.float32(slope) * (gray - np.float32(middle))
    gray += np.float32(scanner.noise * rng.uniform(0.6, 1.5)) * rng.standard_normal(gray.shape, dtype=np.float32)
    _collimate(gray, scanner, rng)
    film = Image.fromarray((np.clip(gray, 0, 1) * 255 + 0.5).astype(np.uint8))
    _mark(film, scanner, marker, rng)
    return np.asarray(film)


def _collimate(gray: Plane, scanner: Scanner, rng: np.random.Generator) -> None:
    """Lead shutters leave plain strips at some edges."""
    if not scanner.border:
        return
    widths = np.round(rng.uniform(0, 2 * scanner.border, 4) * (rng.random(4) < 0.6) * len(gray)).astype(int)
    top, bottom, left, right = widths.tolist()
    gray[:top], gray[len(gray) - bottom :] = scanner.border_gray, scanner.border_gray
    gray[:, :left], gray[:, gray.shape[1] - right :] = scanner.border_gray, scanner.border_gray


def _mark(film: Image.Image, scanner: Scanner, marker: str, rng: np.random.Generator) -> None:
    """Put the letter into the upper corner of the side it names; the patient's left is the image's right."""
    size_px, height = film.width, rng.uniform(0.045, 0.065)
    column = rng.uniform(0.05, 0.12)
    corner = np.array([1 - column - height if marker == "L" else column, rng.uniform(0.05, 0.22)])
    pen = ImageDraw.Draw(film)
    if scanner.is_marker_boxed:
        box = (np.concatenate((corner - 0.02, corner + height + 0.02)) * size_px).tolist()
        pen.rectangle(box, fill=8)
    strokes = [tuple(((corner + height * np.array(point)) * size_px).tolist()) for point in _LETTERS[marker]]
    pen.line(strokes, fill=round(255 * scanner.marker_gray), width=max(1, round(0.009 * size_px)))
