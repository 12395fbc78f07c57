"""Where `fscxr` begins: signals are answered before anything else is loaded."""

from fewshot_cxr.cli.signals import leave_at_once, take_signals


def main() -> None:
    """Run the command line and leave with its exit code."""
    take_signals(leave_at_once)
    from fewshot_cxr.cli.app import main as run

    run()
