"""Episodes that a command was asked for: the flags that shape them; drawn, or replayed from a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from fewshot_cxr._checks import check_form
from fewshot_cxr.cli.flags import as_one, comma_names, file_path, given_flags, name_in
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import POLICIES, PREVALENCES, SavedEpisodes, save_episodes
from fewshot_cxr.evaluation import PROTOCOLS, Plan, plan_episodes

_TRAINED = ("closed", "novel", "generalized")  # protocols that say what the encoder was trained on
_COUNT = click.IntRange(1)


@dataclass(frozen=True)
class EpisodeFlags:
    """Which episodes were asked for.

    Args:
        file: of episodes to replay, or to write; None: none.
        draw: the keywords of `plan_episodes` that were given.
    """

    file: Path | None
    draw: Mapping[str, Any]

    @classmethod
    def of(cls, *, file: Path | None, **given: object) -> "EpisodeFlags":
        """Take the flags.

        Raises:
            click.UsageError: a flag of the draw beside a file of episodes that is there.
        """
        typed = [flag for name, flag in given_flags().items() if name in given]
        if file is not None and file.exists() and typed:
            raise click.UsageError(
                f"--episodes-file {file} exists and settles {', '.join(typed)}: leave them out, or name a new file"
            )
        return cls(file, {name: value for name, value in given.items() if value is not None})

    def plan(self, films: Embeddings, seen: Sequence[str] | None, progress: Callable[[int, int], None] | None) -> Plan:
        """Plan the episodes, or take them from the file; what is new is written to it.

        Args:
            films: labelled; their vectors play no part.
            seen: findings that the encoder was trained on; None: not known.
            progress: called with (episodes written, in all).
        """
        if self.file is not None and self.file.exists():
            return _replayed(SavedEpisodes.load(self.file, films), seen, self.file.name)
        plan = plan_episodes(films, seen=seen, **self.draw)
        if self.file is not None:
            asked = {"protocol": plan.protocol, "seen": plan.seen, "novel": plan.novel, "notes": plan.notes}
            save_episodes(plan.episodes, films, self.file, drawn_for=asked, progress=progress)
        return plan


def _replayed(episodes: SavedEpisodes, seen: Sequence[str] | None, name: str) -> Plan:
    """Say anew what this encoder was trained on: another one may be judged in the same episodes."""
    asked = episodes.protocol.get("drawn_for", {"protocol": "closed", "seen": [], "novel": [], "notes": []})
    check_form(asked, {"protocol": str, "seen": [str], "novel": [str], "notes": [str]}, f"{name}: protocol.drawn_for")
    protocol, notes = asked["protocol"], [*asked["notes"], f"the episodes were replayed from {name}"]
    if seen is None:
        return Plan(protocol, episodes, tuple(asked["seen"]), tuple(asked["novel"]), tuple(notes))
    class_ids = sorted({int(index) for block in episodes.blocks() for index in np.unique(block.class_ids)})
    findings = [episodes.class_names[index] for index in class_ids]
    trained, novel = (tuple(name for name in findings if (name in seen) == is_seen) for is_seen in (True, False))
    fitting = ("closed",) if not novel else ("novel",) if not trained else ("generalized", "novel")
    if protocol in _TRAINED and protocol not in fitting:
        notes = [f"the episodes were replayed from {name}; they were drawn for the protocol {protocol}"]
        protocol = fitting[0]
    return Plan(protocol, episodes, trained, novel, tuple(notes))


def _shots(context: click.Context, parameter: click.Parameter, text: str | None) -> int | dict[str, int] | None:
    """Read "5", or "covid19=5,normal=20"."""
    if text is None:
        return None
    parts = [part.strip().rpartition("=") for part in text.split(",")]
    counts = {name: number for name, _, number in parts}
    is_one, are_named = len(parts) == 1 and not parts[0][1], all(name and equals for name, equals, _ in parts)
    if not (is_one or are_named) or len(counts) < len(parts) or not all(map(_is_count, counts.values())):
        raise click.UsageError(f"--n-shot {text}: a number, or finding=number,... was expected, from 1 up")
    return int(text) if is_one else {name: int(number) for name, number in counts.items()}


def _is_count(text: str) -> bool:
    return text.strip().isdecimal() and int(text) > 0


# Left None: fixed_support takes none of them, and a file of episodes has its own.
episode_flags = as_one(
    "episodes",
    EpisodeFlags.of,
    click.option(
        "--protocol", callback=name_in(PROTOCOLS, "protocol"), help=f"{', '.join(PROTOCOLS)}.  [default: auto]"
    ),
    click.option(
        "--novel",
        metavar="A,B",
        callback=comma_names,
        help="Findings not trained on.  [default: as the checkpoint says]",
    ),
    click.option(
        "--unknown", metavar="A,B", callback=comma_names, help='Findings in no episode, asked as "none of these".'
    ),
    click.option("--support-source", help="cross_source: labelled films are of this source."),
    click.option("--query-source", help="cross_source: films to classify.  [default: all other sources]"),
    click.option("--n-folds", type=click.IntRange(2), help="fixed_support: folds.  [default: 5]"),
    click.option("--n-repeats", type=_COUNT, help="fixed_support: divisions into folds.  [default: 20]"),
    click.option("--n-way", type=click.IntRange(2), help="Findings in an episode.  [default: all]"),
    click.option(
        "--n-shot",
        metavar="N|A=N,B=N",
        callback=_shots,
        help="Labelled films per finding, or of each by name.  [default: 5]",
    ),
    click.option("--n-query", type=_COUNT, help="Films to classify per finding.  [default: 15]"),
    click.option("--n-episodes", type=_COUNT, help="Episodes.  [default: 1000]"),
    click.option(
        "--prevalence",
        callback=name_in(PREVALENCES, "prevalence"),
        help=f"Of queries: {', '.join(PREVALENCES)}.  [default: balanced]",
    ),
    click.option(
        "--if-too-small",
        callback=name_in(POLICIES, "if_too_small"),
        help=f"Findings with few films: {', '.join(POLICIES)}.  [default: error]",
    ),
    click.option(
        "--allow-patient-overlap",
        is_flag=True,
        default=None,
        help="Let a patient be support and query, to measure that leak only.",
    ),
    click.option("--seed", default=0, show_default=True, help="Of the episodes."),
    click.option(
        "--episodes-file",
        "file",
        type=file_path,
        help="Replay the episodes of this file; where there is none yet, draw them and write it.",
    ),
)
"""The flags of the draw, and --episodes-file, as `episodes`."""
