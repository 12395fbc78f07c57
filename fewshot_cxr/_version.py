"""The version that is installed; loaded when it is asked for, since this takes longer than the package itself."""

from importlib.metadata import version

__version__ = version("fewshot_cxr")
