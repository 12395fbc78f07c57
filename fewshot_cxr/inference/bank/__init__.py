"""The support bank: labelled exemplars that answer or abstain, kept in one file that can be mailed and audited."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
