"""The console command `fscxr`: flags in, one library call, text out."""

from fewshot_cxr.cli.start import main

__all__ = ["main"]
