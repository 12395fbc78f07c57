"""Numbers about predictions and tables: thin over torch and SciPy, each checked against an independent oracle."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
