"""Where a network looks, as sections of a page: contact sheets, shares of the heat, deletion, two runs paired."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from fewshot_cxr.explain.deletion import GainRow
from fewshot_cxr.explain.focus_summary import FocusDifference, FocusRow
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.tables import Table, interval_text, number_text, p_text, value_text
from fewshot_cxr.unknown_patients import over_patients, patients_count
from fewshot_cxr.visualise.curves import deletion_figure
from fewshot_cxr.visualise.films import shortened
from fewshot_cxr.visualise.heat import HeatTile, heat_sheet_figure
from fewshot_cxr.visualise.rows import FocusBar, focus_figure

PLACES = {
    "lungs": "in the lungs",
    "border": "in the outer eighth of each side",
    "corners": "in the four corners, a quarter of the side each",
}
READING = (
    "Heat shows which places of the film raise the number that is asked about. It does not show that the network saw a "
    "sign of disease there: lungs are large, and a map in the lungs may still follow the scanner's contrast.",
    "Compare each share with that of a flat map (the same heat everywhere): only what lies clearly beside it says that "
    "the network prefers or avoids the place. Much heat at the border or in the corners, where letters and the edge of "
    "the collimator are, is a reason to distrust the accuracy.",
)

_NO_MASKS = "There are no lung masks for these films: the share in the lungs is unknown."
FILL_WORDS = {"mean": "its own mean grey", "blur": "its own blur"}
_ALL = "all"
_LONGEST_NAME = 32  # letters of a group in a table: with more, no room is left for its numbers


def focus_table(rows: Sequence[FocusRow]) -> Table:
    """Return place by place the share of the heat, its interval and that of a flat map: of all films, then by group."""
    lines, reasons = [], []
    for row in rows:
        n_letters = _LONGEST_NAME - len(f"{row.group_kind} ")
        group = group_name(row.group_kind, shortened(row.group, n_letters))
        name = f"{row.measure}, all films" if row.group_kind == _ALL else f"  {group}"
        counts = f"{row.n_films:,}", patients_count(row.n_films, row.n_patients, row.n_films_without_patient)
        lines.append((name, *counts, value_text(row.share), interval_text(row.share.ci95), number_text(row.area)))
        if row.share.reason:
            reasons.append((f"{group}, {row.measure}", row.share.reason))
    columns = ("", "films", "patients", "share of the heat", "95 %", "flat map")
    return Table(columns, tuple(lines), "Where the heat lies", tuple(reasons))


def group_name(kind: str, group: str) -> str:
    """Return what a group of films is called in a table."""
    return "all films" if kind == _ALL else f"{kind} {group}"


def focus_section(rows: Sequence[FocusRow], *, notes: Sequence[str] = ()) -> Section:
    """Show the shares of the heat by place as charts over a table, and say how they are read."""
    measures = list(dict.fromkeys(row.measure for row in rows))
    words = () if "lungs" in measures else (_NO_MASKS,)
    pictures = tuple(_focus_picture([row for row in rows if row.measure == name], name) for name in measures)
    return Section("Where the network looks", (*READING, *words, *notes), pictures, tables=(focus_table(rows),))


def focus_bars(rows: Sequence[FocusRow]) -> list[FocusBar]:
    """Return the rows of one measure as bars of a chart."""
    return [
        FocusBar(group_name(row.group_kind, row.group), row.share.mean, row.share.ci95, row.area, row.n_films)
        for row in rows
    ]


def sheet_picture(tiles: Sequence[HeatTile], *, title: str = "", caption: str = "") -> Picture:
    """Return a contact sheet as one picture: films are heavy, so for light and dark pages alike."""
    told = "; ".join(" ".join(tile.caption.split()) for tile in tiles)
    return Picture.drawn(
        partial(heat_sheet_figure, tiles, title=title),
        alt=f"{title}{title and ': '}{len(tiles)} films with their heat over them: {told}.",
        caption=caption,
        themes=("dark",),
        form="jpeg",
    )


def sheets_section(sheets: Mapping[str, Sequence[HeatTile]], *, paragraphs: Sequence[str] = ()) -> Section:
    """Show a contact sheet for each finding."""
    pictures = tuple(sheet_picture(tiles, title=name) for name, tiles in sheets.items())
    return Section("Films and their heat", tuple(paragraphs), pictures)


def deletion_section(
    curves: Mapping[str, Mapping[str, np.ndarray]], gains: Sequence[GainRow], *, score: str, fill: str
) -> Section:
    """Show how the score changes while the hottest places of films are covered, or uncovered, first.

    Args:
        curves: mode -> order -> scores, float (N, n_steps + 1); see `deletion_curve`.
        gains: of each mode, see `summarise_gains`.
        score: what the curves measure.
        fill: a name in FILL_WORDS: what covers a film.
    """
    by_mode = {row.mode: row for row in gains}
    pictures = tuple(
        Picture.drawn(
            partial(deletion_figure, orders, mode=mode, score=score, title=mode.capitalize()),
            alt=f"{mode}: {gain_text(by_mode[mode])}.",
        )
        for mode, orders in curves.items()
        if by_mode[mode].n_films
    )
    covered = FILL_WORDS[fill]
    words = (
        f"The hottest places of a film are replaced by {covered} (deletion), or come back first to a film of {covered} "
        "(insertion). If the map shows what the answer hangs on, the score falls, or rises, faster than with places at "
        f"random. The score: {score}.",
        "A covered film is one that the network never saw in training: a fall shows that the place matters, not what "
        "is seen there.",
    )
    return Section("Does the answer hang on the hot places?", words, pictures, tables=(gain_table(gains),))


def gain_table(gains: Sequence[GainRow]) -> Table:
    """Return mode by mode the mean gain over a random order, its interval, and the share of films that gain."""
    rows = tuple(
        (
            row.mode,
            f"{row.n_films:,}",
            patients_count(row.n_films, row.n_patients, row.n_films_without_patient),
            f"{row.n_without_heat:,}",
            value_text(row.gain, "gain"),
            interval_text(row.gain.ci95, "gain"),
            number_text(row.share_gaining),
        )
        for row in gains
    )
    columns = ("", "films", "patients", "without heat", "mean gain over random", "95 %", "films with a gain")
    reasons = tuple((row.mode, row.gain.reason) for row in gains if row.gain.reason)
    return Table(columns, rows, "Deletion and insertion", reasons)


def gain_text(row: GainRow) -> str:
    """Return a gain in one sentence, without its mode."""
    left_out = f"; left out, as they have no heat: {row.n_without_heat:,}" if row.n_without_heat else ""
    gain = row.gain
    if gain.mean is None:
        return f"no gain is known: {gain.reason}{left_out}"
    over = f"over {row.n_patients:,} patients"
    if row.n_films_without_patient:
        over = over_patients(row.n_films_without_patient, row.n_films)
    interval = f"95 % {interval_text(gain.ci95, 'gain')} {over}" if gain.ci95 else gain.reason
    return (
        f"the order by heat gains {value_text(gain, 'gain')} over a random one ({interval}), mean of {row.n_films:,} "
        f"films, of which {number_text(row.share_gaining)} gain{left_out}"
    )


def focus_difference_table(rows: Sequence[FocusDifference], names: tuple[str, str], *, is_inner: bool = False) -> Table:
    """Return place by place the mean share in both runs, second less first with its interval, and the p-value.

    Args:
        rows: of `compare_focus`.
        names: of the runs.
        is_inner: the shares are of the heat in the part of the film that both runs see.
    """
    lines = tuple(
        (
            row.measure,
            f"{row.n_films:,}",
            patients_count(row.n_films, row.n_patients, row.n_films_without_patient),
            number_text(row.mean_first),
            number_text(row.mean_second),
            number_text(row.difference, "points"),
            interval_text(row.ci95, "points"),
            p_text(row.p_value),
        )
        for row in rows
    )
    reasons = tuple((row.measure, row.reason) for row in rows if row.reason)
    first, second = names
    return Table(
        ("", "films", "patients", first, second, "difference", "95 %", "p"),
        lines,
        f"Share of the heat{' in the part that both see' if is_inner else ''}, {second} less {first}, in points",
        reasons,
    )


_INNER_WORDS = (
    "What a run does not see has no heat: where borders are cut off, less heat there, and so more elsewhere, follows "
    "from the crop alone. The second table leaves that out: in both runs it counts the heat in the part of the film "
    "that both see, and only that.",
)


def versus_section(
    rows: Sequence[FocusDifference],
    inner_rows: Sequence[FocusDifference],
    names: tuple[str, str],
    tiles: Sequence[HeatTile],
) -> Section:
    """Show where two runs look: the paired differences, and films with the heat of both side by side.

    Args:
        rows: of `compare_focus`, the shares of the heat.
        inner_rows: the same of the heat in the part of the film that both runs see; (): both see the whole film.
        names: of the runs.
        tiles: in pairs, the first run's before the second's.
    """
    words = (
        "Every film is measured in both runs, in the square of the film before any border was cut off, so that a share "
        "means the same place in both. The test is paired film by film, with patients as clusters.",
        *_INNER_WORDS[: bool(inner_rows)],
        "It compares these two trained networks. Another training with another seed would differ too: train each "
        "several times before you ascribe the difference to a setting.",
    )
    pictures: tuple[Picture, ...] = ()
    if tiles:
        pictures = (sheet_picture(tiles, title=f"Left: {names[0]}; right: {names[1]}"),)
    inner = (focus_difference_table(inner_rows, names, is_inner=True),) if inner_rows else ()
    return Section("Two runs on the same films", words, pictures, focus_difference_table(rows, names), tables=inner)


def _focus_picture(rows: Sequence[FocusRow], measure: str) -> Picture:
    whole = next((row for row in rows if row.group_kind == _ALL), rows[0])
    place = PLACES.get(measure, measure)
    return Picture.drawn(
        partial(focus_figure, focus_bars(rows), measure=place),
        alt=f"Share of the heat {place}: {value_text(whole.share)} over all films, a flat map has "
        f"{number_text(whole.area)}.",
    )
