"""Which views of a data set are asked for."""

from collections.abc import Iterable

from fewshot_cxr._checks import lookup

ALL, FRONTAL = "all", "frontal"


def asked_names(option: str, names: tuple[str, ...], known: Iterable[str | None]) -> set[str]:
    """Return the names that an option asks for, in small letters; empty: all of them.

    Args:
        option: its name, for errors.
        names: as they were given, in any case; "all" or no name for every one, "frontal" among `views`.
        known: names that there are.

    Raises:
        ValueError: a name that is none of these.
        TypeError: names is one text.
    """
    if isinstance(names, str):
        raise TypeError(f"{option} must be a tuple of names, got the text {names!r}; write ({names!r},)")
    choices = {name: name for name in (*filter(None, known), ALL)}
    if option == "views":
        choices[FRONTAL] = FRONTAL
    by_case = {name.casefold(): name for name in choices}
    asked = {lookup(choices, by_case.get(name.casefold(), name), what=option).casefold() for name in names}
    return set() if ALL in asked else asked


class Views:
    """The views that are asked for, by the names of one data set.

    Args:
        asked: see `asked_names`.
        frontal: what "frontal" stands for.
        others: further views that there are.
    """

    def __init__(self, asked: tuple[str, ...], frontal: tuple[str, ...], others: tuple[str, ...]) -> None:
        self._asked = asked_names("views", asked, (*frontal, *others))
        self._frontal = {name.casefold() for name in frontal}
        self._told: dict[str, str] = {}
        meant = f"; {FRONTAL} means {', '.join(frontal)}" if FRONTAL in self._asked else ""
        self.note = f"taken: views {', '.join(asked) or ALL}{meant}"

    def unasked(self, view: str) -> str:
        """Return why a film of this view is passed over, or ""."""
        if view not in self._told:
            name = view.casefold()
            is_asked = not self._asked or name in self._asked or (FRONTAL in self._asked and name in self._frontal)
            self._told[view] = "" if is_asked else f"view {view or 'not stated'}"
        return self._told[view]
