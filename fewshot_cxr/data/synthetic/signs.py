"""What each finding does to a chest: which share of the lung's air it fills, or how wide it makes the heart.

A sign takes two sources of chance: `lasting`, the same on every film of a patient (which lobe, how severe), and
`passing`, of this film (the disease moves a little from day to day). Severities run from faint to obvious, so that no
reader, human or network, gets them all.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from fewshot_cxr.data.synthetic.anatomy import Chest, Patient, Plane, bell, soft_edge
from fewshot_cxr.seeding import generator

# (chest, vessels, lasting, passing) -> share of the air that is filled; above 1, denser than the tissue around it.
Sign = Callable[[Chest, Plane, np.random.Generator, np.random.Generator], Plane | float]


def enlarge_heart(finding: str, patient: Patient, seed: int, number: int) -> Patient:
    """Give a patient with cardiomegaly a cardiothoracic ratio above 0.55; leave all others as they are."""
    if finding != "cardiomegaly":
        return patient
    return replace(patient, heart_ratio=0.555 + 0.14 * generator(seed, "heart", number).random())


def smooth_noise(rng: np.random.Generator, n_cells: int, size_px: int) -> Plane:
    """Standard normal noise on a grid of `n_cells`, widened smoothly to the film."""
    cells = Image.fromarray(rng.standard_normal((n_cells, n_cells)).astype(np.float32))
    return np.asarray(cells.resize((size_px, size_px), Image.Resampling.BICUBIC), dtype=np.float32)


def _severity(lasting: np.random.Generator, passing: np.random.Generator, faintest: float, strongest: float) -> float:
    """Draw how severe a patient's disease is, and how far this film is off that."""
    return max(0.7 * faintest, lasting.uniform(faintest, strongest) + 0.05 * passing.standard_normal())


def _none(chest: Chest, vessels: Plane, lasting: np.random.Generator, passing: np.random.Generator) -> float:
    return 0.0


def _lobar_consolidation(
    chest: Chest, vessels: Plane, lasting: np.random.Generator, passing: np.random.Generator
) -> Plane:
    """One lobe without air, cut off sharply at the fissure, the bronchi in it still dark."""
    on_right = lasting.random() < 0.55
    lobe = ("upper", "middle", "lower")[lasting.choice(3, p=(0.25, 0.3, 0.45) if on_right else (0.35, 0.0, 0.65))]
    fissure = lasting.uniform(-0.12, 0.06) + 0.02 * passing.standard_normal()
    strength = _severity(lasting, passing, 0.32, 1.15)
    half = soft_edge(-chest.across if on_right else chest.across, 0.04)
    below = chest.down - np.float32(fissure) - lasting.uniform(-0.1, 0.25) * (chest.side - 0.4)
    if lobe == "upper":
        region = soft_edge(-below, 0.02) * soft_edge(below + 0.62, 0.5)
    elif lobe == "middle":
        medial = soft_edge(0.55 - chest.side - 0.3 * below, 0.25)
        region = soft_edge(below, 0.02) * medial * soft_edge(0.45 - below, 0.3)
    else:
        region = soft_edge(below - 0.10, 0.35) * soft_edge(chest.side - 0.15, 0.2)
    mottle = 1 + 0.10 * smooth_noise(passing, 14, len(chest.down))
    filled: Plane = strength * half * region * mottle * (1 - 0.55 * vessels)
    return filled


def _bilateral_interstitial(
    chest: Chest, vessels: Plane, lasting: np.random.Generator, passing: np.random.Generator
) -> Plane:
    """A fine net of thickened septa in both lungs, densest at the bases."""
    strength = _severity(lasting, passing, 0.20, 0.75)
    basal = soft_edge(chest.down - lasting.uniform(-0.35, 0.0), lasting.uniform(0.5, 0.9))
    # The zero lines of smooth noise are a net of thin closed loops; two mesh sizes lie over each other.
    coarse = bell(smooth_noise(passing, 30, len(chest.down)), 0.28)
    fine = bell(smooth_noise(passing, 46, len(chest.down)), 0.30)
    net: Plane = np.maximum(coarse, 0.9 * fine)
    return strength * (0.25 + 0.75 * basal) * (0.65 * net + 0.28)


def _peripheral_ground_glass(
    chest: Chest, vessels: Plane, lasting: np.random.Generator, passing: np.random.Generator
) -> Plane:
    """Several hazy patches along the wall of both lungs; vessels stay visible through the haze."""
    strength = _severity(lasting, passing, 0.35, 1.25)
    haze: Plane = np.zeros_like(chest.down)
    for mirror in (-1, 1):
        for _ in range(lasting.integers(3, 7)):
            height, depth = lasting.uniform(-0.40, 0.40), lasting.uniform(0.08, 0.20)
            tall, wide = lasting.uniform(0.16, 0.28), lasting.uniform(0.12, 0.20)
            moved = height + 0.02 * passing.standard_normal()
            patch = bell(chest.wall - depth, wide) * bell(chest.down - moved, tall) * (mirror * chest.across > 0)
            haze = np.maximum(haze, lasting.uniform(0.6, 1.0) * patch)
    mottle = 1 + 0.25 * smooth_noise(passing, 22, len(chest.down))
    return strength * haze * mottle


def _effusion(chest: Chest, vessels: Plane, lasting: np.random.Generator, passing: np.random.Generator) -> Plane:
    """Fluid that blunts the costophrenic angle and climbs the wall in a meniscus, on one side or both."""
    sides = ((-1,), (1,), (-1, 1))[lasting.choice(3, p=(0.30, 0.25, 0.45))]
    fluid: Plane = np.zeros_like(chest.down)
    for mirror in sides:
        depth = lasting.uniform(0.0, 0.75) + 0.02 * passing.standard_normal()
        fade = np.float32(-1 / lasting.uniform(0.10, 0.20))
        climb = lasting.uniform(0.10, 0.25) * np.exp(fade * np.clip(chest.wall, 0, 2))
        fluid += soft_edge(depth + climb - chest.above_angle, 0.07) * (mirror * chest.across > 0)
    return lasting.uniform(1.1, 1.4) * fluid


SIGNS: dict[str, Sign] = {
    "normal": _none,
    "lobar_consolidation": _lobar_consolidation,
    "bilateral_interstitial": _bilateral_interstitial,
    "peripheral_ground_glass": _peripheral_ground_glass,
    "effusion": _effusion,
    "cardiomegaly": _none,
}
