"""Where a network looks, over whole sets of films: heat, its share by place, pictures, and two runs paired."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
