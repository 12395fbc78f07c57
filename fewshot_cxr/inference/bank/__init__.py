"""The support bank: labelled films as exemplars, which ones, how new films are compared with them, and how surely."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
