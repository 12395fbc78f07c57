"""Every film of a test set decided once, by exemplars or by any classifier, and judged with intervals over patients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
