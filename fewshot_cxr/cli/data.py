"""`fscxr data`: what can be done with a list of films before any training."""

from fewshot_cxr.cli.app import LazyGroup

COMMANDS = {
    "read": ("fewshot_cxr.cli.data_read", "Read data sets as they lie on disk, and write one manifest."),
    "split": ("fewshot_cxr.cli.data_split", "Split films into train, val and test, or folds, by patient."),
    "audit": ("fewshot_cxr.cli.data_audit", "Find what ruins studies: duplicates, leaks, confounding, bad films."),
    "cache": ("fewshot_cxr.cli.data_cache", "Decode films into the cache, before anything else needs them."),
}
command = LazyGroup("data", help="Read, audit, split and cache films.")
command.table = COMMANDS
