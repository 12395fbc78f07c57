"""The chest of a synthetic patient: its measures, and the outlines that follow from them.

A film is seen as radiologists see it, from the front: the patient's right side is on the left of the image.
Coordinates are those of the patient, not of the film: `across` is 0 at the spine and grows towards the image's right,
`down` runs from -1 at the neck to 1 in the abdomen. How the patient stood only changes which coordinates a pixel has.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_cxr.seeding import generator

# Drawn in float32 throughout: twice as fast, and far finer than 256 grays.
Plane = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Patient:
    """What stays the same on every film of one patient; lengths are in half film heights."""

    lung_width: float
    apex: float
    dome_right: float
    dome_left: float
    body_width: float
    thickness: float
    heart_ratio: float
    aortic_knob: float
    rib_spacing: float
    rib_slope: float
    bone: float
    breast: float
    stomach_bubble: float


@dataclass(frozen=True, slots=True)
class Pose:
    """How the patient stood, or lay, for one film: this changes from film to film."""

    view: str
    rotation: float
    zoom: float
    shift_across: float
    shift_down: float
    turn: float
    breath: float


@dataclass(frozen=True)
class Chest:
    """The outlines on one film, each shape (size_px, size_px), float32; masks are 0..1 with soft edges.

    `side` is how far a pixel lies from the midline, `wall` how far inside the chest wall, `above_dome` how far above
    the diaphragm, `above_angle` how far above the height of the costophrenic angle, where fluid collects. `lungs` is
    where there is air, `central` the heart and the great vessels.
    """

    across: Plane
    down: Plane
    side: Plane
    wall: Plane
    above_dome: Plane
    above_angle: Plane
    lungs: Plane
    central: Plane


def draw_patient(seed: int, patient: int) -> Patient:
    """Draw the measures of one patient, keyed by seed and number."""
    rng = generator(seed, "patient", patient)
    dome_right = rng.uniform(0.40, 0.52)
    return Patient(
        lung_width=rng.uniform(0.71, 0.79),
        apex=rng.uniform(-0.78, -0.70),
        dome_right=dome_right,
        dome_left=dome_right + rng.uniform(0.0, 0.10),
        body_width=rng.uniform(1.04, 1.20),
        thickness=rng.uniform(0.57, 0.66),
        heart_ratio=rng.uniform(0.40, 0.50),
        aortic_knob=rng.uniform(0.02, 0.09),
        rib_spacing=rng.uniform(0.115, 0.15),
        rib_slope=rng.uniform(0.18, 0.36),
        bone=rng.uniform(0.6, 1.3),
        breast=rng.uniform(0.03, 0.12) if rng.random() < 0.5 else 0.0,
        stomach_bubble=rng.uniform(0.03, 0.10) if rng.random() < 0.4 else 0.0,
    )


def draw_pose(seed: int, patient: int, film: int, *, portable: bool) -> Pose:
    """Draw how the patient was placed; a portable machine mostly takes AP films, of people who lie and breathe less."""
    rng = generator(seed, "pose", patient, film)
    view = "AP" if rng.random() < (0.8 if portable else 0.15) else "PA"
    spread = 1.4 if view == "AP" else 1.0
    return Pose(
        view=view,
        rotation=spread * rng.uniform(-0.035, 0.035),
        zoom=rng.uniform(0.96, 1.05),
        shift_across=rng.uniform(-0.03, 0.03),
        shift_down=rng.uniform(-0.04, 0.04),
        turn=spread * rng.uniform(-0.05, 0.05),
        breath=rng.uniform(-0.05, 0.04) - (0.03 if view == "AP" else 0.0),
    )


def pose_patient(patient: Patient, pose: Pose) -> Patient:
    """Return the measures as this film shows them: breath moves the domes, an AP beam widens the heart."""
    return replace(
        patient,
        dome_right=patient.dome_right + pose.breath,
        dome_left=patient.dome_left + pose.breath,
        heart_ratio=patient.heart_ratio * (1.06 if pose.view == "AP" else 1.0),
    )


def outline_chest(patient: Patient, pose: Pose, size_px: int) -> Chest:
    """Work out the outlines of a posed patient on a film of `size_px`."""
    across, down = patient_coordinates(pose, size_px)
    side = np.abs(across)
    rise = np.clip((0.35 - down) / (0.35 - patient.apex), 0, 1)
    outer = patient.lung_width * np.sqrt(1 - rise**3)
    dome_top = np.where(across < 0, np.float32(patient.dome_right), np.float32(patient.dome_left))
    wall, above_dome = outer - side, dome_top + _dome_fall(side / np.float32(patient.lung_width)) - down
    above_angle = dome_top + _dome_fall(np.ones((1, 1), dtype=np.float32)) - down
    heart_half_width = patient.heart_ratio * patient.lung_width
    central = _central(patient, across + np.float32(pose.turn), down, heart_half_width)
    # The apex leans away from the neck: without this the two lungs would meet in a point above the trachea.
    neck = soft_edge(side - (0.04 + 0.30 * rise**6), 0.05)
    lungs = soft_edge(wall, 0.05) * soft_edge(above_dome, 0.035) * neck * (1 - central)
    return Chest(across, down, side, wall, above_dome, above_angle, lungs, central)


def patient_coordinates(pose: Pose, size_px: int) -> tuple[Plane, Plane]:
    """Return (across, down) of every pixel."""
    columns, rows = _film_coordinates(size_px)
    cosine, sine = np.cos(pose.rotation) / pose.zoom, np.sin(pose.rotation) / pose.zoom
    across = np.float32(cosine) * columns + np.float32(sine) * rows - np.float32(pose.shift_across)
    down = np.float32(cosine) * rows - np.float32(sine) * columns - np.float32(pose.shift_down)
    return across, down


def film_pixels(pose: Pose, points: NDArray[Any], size_px: int) -> NDArray[np.float64]:
    """Return (column, row) of points (across, down), shape (..., 2): the way back from `patient_coordinates`."""
    moved = points + np.array([pose.shift_across, pose.shift_down])
    cosine, sine = np.cos(pose.rotation) * pose.zoom, np.sin(pose.rotation) * pose.zoom
    turned = moved @ np.array([[cosine, sine], [-sine, cosine]])
    return np.asarray((turned + 1) / 2 * size_px - 0.5)


def soft_edge(inside: Plane, width: float) -> Plane:
    """Turn a signed distance (positive inside) into a mask 0..1 with an edge of `width`."""
    ramp = np.clip(inside * np.float32(1 / width) + np.float32(0.5), 0, 1)
    mask: Plane = ramp * ramp * (3 - 2 * ramp)
    return mask


def bell(offset: Plane, width: float) -> Plane:
    """A Gaussian bump of height 1."""
    bump: Plane = np.exp(-np.square(offset * np.float32(1 / width)))
    return bump


@lru_cache(maxsize=4)
def _film_coordinates(size_px: int) -> tuple[Plane, Plane]:
    steps = ((np.arange(size_px, dtype=np.float32) + 0.5) * (2 / size_px) - 1).astype(np.float32)
    return steps[None, :], steps[:, None]


def _dome_fall(reach: Plane) -> Plane:
    """How far the diaphragm lies below its peak: little at the heart, much at the wall, in the costophrenic angle."""
    off_peak = np.minimum(reach, 1) - np.float32(0.52)
    return np.where(off_peak > 0, np.float32(0.85), np.float32(0.25)) * off_peak * off_peak


def _central(patient: Patient, across: Plane, down: Plane, half_width: float) -> Plane:
    """Heart and great vessels: how far they reach to either side at each height."""
    below_top = np.clip((down + 0.10) / (patient.dome_left + 0.14), 0, 1.3)
    bulge = np.sqrt(np.clip(1 - np.square((below_top - 0.78) / 0.80), 0, 1))
    swell = np.clip(below_top * 2.5, 0, 1) * bulge
    ventricle = (1.36 * half_width - 0.115) * swell * np.clip(0.25 + below_top, 0, 1)
    left = 0.115 + ventricle + patient.aortic_knob * bell(down + 0.27, 0.10)
    right = 0.105 + (0.64 * half_width - 0.105) * swell + 0.02 * soft_edge(-0.1 - down, 0.3)
    return soft_edge(left - across, 0.04) * soft_edge(right + across, 0.04)
