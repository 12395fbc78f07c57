"""Whole stories, from films to a page or to a result: each loads when it is imported by its own name."""

__all__: list[str] = []
