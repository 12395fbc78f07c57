"""Which films make a batch: balanced over findings, diverse over patients, every draw keyed by (seed, epoch)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
