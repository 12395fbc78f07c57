"""What training asks of embeddings and logits: losses, miners, heads; the one door to pytorch-metric-learning."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
