"""Splits by patient, seeded and stratified by finding: all films of a patient, or of a group, lie on one side."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
