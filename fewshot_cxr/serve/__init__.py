"""The browser page and the JSON API of a support bank: each module loads when it is imported by its own name."""

__all__: list[str] = []
