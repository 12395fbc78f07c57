"""Why an encoder answers as it does: heat maps as arrays, and where their heat lies; the one door to captum."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
