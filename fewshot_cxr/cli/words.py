"""What the library says in names of Python, said in flags to whoever called a command."""

import re
from collections.abc import Iterator, Sequence

import click

_CLAUSE = r"(?=[;.,:)]|$)"


def in_flags(text: str, command: click.Command | None) -> str:
    """Return a message with the flags of a command in place of its arguments' names: `n_way` becomes --n-way.

    Args:
        text: the message.
        command: that was called; None: the text stays.
    """
    for name, flag in {} if command is None else dict(_names(command)).items():
        # `name='value'` first, then the name alone; nothing within a path or a longer name.
        text = re.sub(rf"(?<![\w/.'\"-]){name}=(['\"]?)([\w.+-]+)\1", rf"{flag} \2", text)
        if "_" in name:
            text = re.sub(rf"(?<![\w/.'\"-]){name}(?![\w/-]|\.\w|['\"])", flag, text)
        else:  # a plain word as well, unless it stands where an argument does
            text = re.sub(rf"\({name}\)", f"({flag})", text)
            text = re.sub(rf"(?<=\bin ){name}{_CLAUSE}|(?<=\bleave ){name}(?= out\b)", flag, text)
            text = re.sub(rf"^{name}(?= (?:must|names|is|holds)\b)", flag, text)
    return text


def spoken(text: str) -> str:
    """Return a message with the flags of the command that is running."""
    context = click.get_current_context(silent=True)
    return in_flags(text, None if context is None else context.command)


def called_command(group: click.Group, words: Sequence[str]) -> click.Command:
    """Return the command that the words of a command line name, as far as they name one."""
    command: click.Command = group
    for word in words:
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word) or command
    return command


def _names(command: click.Command) -> Iterator[tuple[str, str]]:
    for one in command.params:
        flag = next((flag for flag in one.opts if flag.startswith("--")), None)
        if flag is not None:
            own = flag.removeprefix("--").replace("-", "_")
            yield own, flag
            if one.name and "_" in one.name:
                yield one.name, flag
