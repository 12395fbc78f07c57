"""Few-shot metric learning for chest X-rays.

What may be imported from here stands in `__init__.pyi`, and each name loads its room when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
