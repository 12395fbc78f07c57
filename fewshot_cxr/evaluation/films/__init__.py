"""Every film answered once, by exemplars or by any classifier, and measured with intervals over patients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
