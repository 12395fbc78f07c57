"""What the beam meets besides air: the body, the bones and the vessels of the lung, as attenuation per pixel."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fewshot_cxr.data.synthetic.anatomy import Chest, Patient, Plane, Pose, bell, film_pixels, soft_edge
from fewshot_cxr.seeding import generator

Points = NDArray[np.float64]

# Half the width of a body from the neck to the hips, for a patient of body_width 1.
_BODY_DOWN = np.array([-2.0, -1.02, -0.88, -0.72, -0.50, -0.15, 0.30, 2.0])
_BODY_HALF_WIDTH = np.array([0.23, 0.25, 0.45, 0.86, 1.02, 0.93, 0.90, 0.98])


def soft_tissue(patient: Patient, chest: Chest) -> Plane:
    """The body without its air: thicker in the middle and the abdomen, with heart, breasts and the stomach's bubble."""
    half_width = np.interp(chest.down.ravel(), _BODY_DOWN, patient.body_width * _BODY_HALF_WIDTH).astype(np.float32)
    inside = half_width.reshape(chest.down.shape) - chest.side
    body = soft_edge(inside, 0.10) * (0.72 + 0.28 * np.clip(inside * 1.6, 0, 1))
    abdomen = soft_edge(-chest.above_dome, 0.05) * 0.13 * soft_edge(0.10 + chest.wall, 0.35)
    heart_depth = 0.07 * np.clip(1.2 - np.square((chest.across - 0.08) / 0.38), 0, 1)
    # Vessels of the neck and of the belly do not stand out from what surrounds them, those of the chest do.
    stands_out = soft_edge(chest.above_dome + 0.05, 0.25) * soft_edge(chest.down + 0.75, 0.5)
    tissue: Plane = body * (patient.thickness + abdomen) + chest.central * stands_out * (0.06 + heart_depth)
    if patient.breast:
        hang = np.square((chest.side - 0.50) / 0.34) + np.square((chest.down - 0.34) / 0.30)
        tissue += patient.breast * soft_edge(1 - hang, 0.8) * (1 - chest.central)
    if patient.stomach_bubble:
        ring = np.square((chest.across - 0.36) / 0.17) + np.square((chest.down - patient.dome_left - 0.16) / 0.10)
        tissue -= patient.stomach_bubble * soft_edge(1 - ring, 1.2)
    return tissue


def bones(patient: Patient, chest: Chest, pose: Pose) -> Plane:
    """Ribs, spine, clavicles and shoulders, less the dark band of the trachea."""
    turned = chest.across + np.float32(pose.turn)
    ribs = 0.085 * _posterior_ribs(patient, chest) + 0.045 * _anterior_ribs(patient, chest)
    # The heart and the belly outshine the ribs behind them.
    ribs *= soft_edge(chest.wall + 0.05, 0.05) * (1 - 0.75 * soft_edge(-chest.above_dome, 0.3))
    ribs *= 1 - 0.6 * chest.central
    vertebrae = 1 + 0.25 * np.cos(chest.down * np.float32(2 * np.pi / (0.85 * patient.rib_spacing)))
    spine = 0.07 * soft_edge(0.075 - np.abs(turned), 0.07) * vertebrae
    trachea = 0.11 * bell(turned, 0.035) * soft_edge(-0.16 - chest.down, 0.15)
    skeleton: Plane = patient.bone * (ribs + spine + _clavicles(patient, chest, pose) + _shoulders(patient, chest))
    return skeleton - trachea


def vessels(seed: int, patient: int, pose: Pose, size_px: int) -> Plane:
    """The branching arteries and veins around the hila, 0..1: wide at the root, thin at the wall."""
    # Drawn at twice the size and averaged down: Pillow's lines have no soft edges.
    canvas = Image.new("L", (2 * size_px, 2 * size_px))
    pen = ImageDraw.Draw(canvas)
    rng = generator(seed, "vessels", patient)
    for mirror in (-1.0, 1.0):
        starts = np.tile([0.17 * mirror, -0.02 - 0.04 * mirror], (10, 1)) + rng.normal(0, 0.025, (10, 2))
        angles = np.linspace(-1.35, 1.45, 10) + rng.normal(0, 0.18, 10)
        for level, width in enumerate((0.024, 0.016, 0.010, 0.007)):
            branches, angles_next = _grow(rng, angles, level)
            tips = starts + branches * np.array([mirror, 1.0])
            lines = film_pixels(pose, np.stack((starts, tips), axis=1), 2 * size_px)
            _stroke(pen, lines, width * size_px, shade=220 - 45 * level)
            starts, angles = np.repeat(tips, 2, axis=0), angles_next
    return np.asarray(canvas.reduce(2), dtype=np.float32) * np.float32(1 / 255)


def _grow(rng: np.random.Generator, angles: Points, level: int) -> tuple[Points, Points]:
    """One generation of branches: which way and how far each goes, and the angles of the two that follow it."""
    n_branches = len(angles)
    lengths = rng.uniform(0.11, 0.19, n_branches) * 0.85**level
    branches = lengths[:, None] * np.stack((np.cos(angles), 1.15 * np.sin(angles)), axis=1)
    fork = rng.uniform(0.1, 0.45, (n_branches, 2)) * np.array([-1.0, 1.0])
    return branches, (angles[:, None] + fork).ravel()


def _stroke(pen: ImageDraw.ImageDraw, lines: Points, width: float, *, shade: int) -> None:
    thickness = max(1, round(width))
    for line in lines.reshape(-1, 4).tolist():
        pen.line(line, fill=shade, width=thickness)


def _clavicles(patient: Patient, chest: Chest, pose: Pose) -> Plane:
    along = chest.side - np.float32(0.08)
    tilt = 0.5 * pose.turn * np.sign(chest.across)
    middle = patient.apex + 0.24 + tilt - 0.20 * along + 0.035 * np.sin(7 * along)
    ends = soft_edge(along, 0.06) * soft_edge(0.72 - along, 0.1)
    return 0.10 * soft_edge(0.030 - np.abs(chest.down - middle), 0.03) * ends


def _shoulders(patient: Patient, chest: Chest) -> Plane:
    """The head of the humerus, and the inner rim of the shoulder blade."""
    ring = np.square((chest.side - 0.93 * patient.body_width) / 0.15) + np.square((chest.down + 0.52) / 0.16)
    rim = soft_edge(0.05 - np.abs(chest.side - 0.80 - 0.12 * chest.down), 0.10)
    return 0.09 * soft_edge(1 - ring, 0.5) + 0.05 * rim * soft_edge(0.32 - np.abs(chest.down + 0.22), 0.15)


def _posterior_ribs(patient: Patient, chest: Chest) -> Plane:
    reach = chest.side / np.float32(patient.lung_width)
    arch = patient.rib_slope * reach**3 - 0.06 * np.sin(np.float32(np.pi) * np.clip(reach, 0, 1))
    order = (chest.down - np.float32(patient.apex + 0.10) - arch) / np.float32(patient.rib_spacing)
    return _bands(order) * soft_edge(order + 0.9, 0.5) * soft_edge(9.6 - order, 1.0)


def _anterior_ribs(patient: Patient, chest: Chest) -> Plane:
    reach = chest.side / np.float32(patient.lung_width)
    order = (chest.down - np.float32(patient.apex + 0.22) - 0.42 * (1 - reach)) / np.float32(1.2 * patient.rib_spacing)
    return _bands(order) * soft_edge(order + 0.5, 0.5) * soft_edge(5.5 - order, 1.0) * soft_edge(reach - 0.4, 0.2)


def _bands(order: Plane) -> Plane:
    """One band per whole number, brighter at its rims, where the beam runs along the cortex of the bone."""
    off = 2 * np.abs(order - np.round(order))
    return soft_edge(0.46 - off, 0.22) * (0.55 + 0.9 * off)
