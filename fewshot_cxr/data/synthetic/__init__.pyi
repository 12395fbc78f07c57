from .films import SYNTHETIC_FINDINGS as SYNTHETIC_FINDINGS
from .films import draw_film as draw_film
from .films import make_synthetic as make_synthetic
from .scanners import SCANNERS as SCANNERS
