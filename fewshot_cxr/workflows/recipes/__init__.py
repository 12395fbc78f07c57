"""The five published systems, each a file of settings: corrected by default, as published on demand."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
