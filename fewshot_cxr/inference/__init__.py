"""Use a trained encoder: embed films once, then decide by distance, or by the classifier that follows it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
