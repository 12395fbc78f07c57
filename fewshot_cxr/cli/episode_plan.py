"""Episodes that a command was asked for: the flags that shape them; drawn, or replayed from a file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from fewshot_cxr._checks import lookup
from fewshot_cxr.cli.flags import Command, several
from fewshot_cxr.cli.sources import names_in
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import POLICIES, PREVALENCES, SavedEpisodes, save_episodes
from fewshot_cxr.evaluation import PROTOCOLS, Plan, plan_episodes
from fewshot_cxr.inference import OWN_DISTANCE

Progress = Callable[[int, int], None]
_TRAINED = ("closed", "novel", "generalized")  # protocols that say what the encoder was trained on
_COUNT = click.IntRange(1)
# Left None: fixed_support takes none of them, and a file of episodes has its own.
_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "protocol": ("--protocol", {"help": f"{', '.join(PROTOCOLS)}.  [default: auto]"}),
    "novel": ("--novel", {"metavar": "A,B", "help": "Findings not trained on.  [default: as the checkpoint says]"}),
    "unknown": ("--unknown", {"metavar": "A,B", "help": 'Findings in no episode, asked as "none of these".'}),
    "support_source": ("--support-source", {"help": "cross_source: labelled films are of this source."}),
    "query_source": ("--query-source", {"help": "cross_source: films to classify.  [default: all other sources]"}),
    "n_folds": ("--n-folds", {"type": click.IntRange(2), "help": "fixed_support: folds.  [default: 5]"}),
    "n_repeats": ("--n-repeats", {"type": _COUNT, "help": "fixed_support: divisions into folds.  [default: 20]"}),
    "n_way": ("--n-way", {"type": click.IntRange(2), "help": "Findings in an episode.  [default: all]"}),
    "n_shot": (
        "--n-shot",
        {"metavar": "N|A=N,B=N", "help": "Labelled films per finding, or of each by name.  [default: 5]"},
    ),
    "n_query": ("--n-query", {"type": _COUNT, "help": "Films to classify per finding.  [default: 15]"}),
    "n_episodes": ("--n-episodes", {"type": _COUNT, "help": "Episodes.  [default: 1000]"}),
    "prevalence": ("--prevalence", {"help": f"Of queries: {', '.join(PREVALENCES)}.  [default: balanced]"}),
    "if_too_small": ("--if-too-small", {"help": f"Findings with few films: {', '.join(POLICIES)}.  [default: error]"}),
    "allow_patient_overlap": (
        "--allow-patient-overlap",
        {"is_flag": True, "default": None, "help": "Let a patient be support and query, to measure that leak only."},
    ),
    "seed": ("--seed", {"default": 0, "show_default": True, "help": "Of the episodes."}),
}


def episode_flags(command: Command) -> Command:
    """Add the flags of the draw, and --episodes-file."""
    flags = [click.option(flag, name, **more) for name, (flag, more) in _OPTIONS.items()]
    file = click.option(
        "--episodes-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Replay the episodes of this file; where there is none yet, draw them and write it.",
    )
    return several(*flags, file)(command)


def take_episode_flags(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Take what `plan_episodes` takes out of a command's options, checked as far as can be without films.

    Raises:
        click.UsageError: a flag of the draw beside a file of episodes; --n-shot is neither a number nor a list of them.
        ValueError: an unknown protocol, prevalence or policy.
    """
    file = options["episodes_file"]
    given = [flag for name, (flag, _) in _OPTIONS.items() if _is_given(context, name)]
    if file is not None and file.exists() and given:
        raise click.UsageError(
            f"--episodes-file {file} exists and settles {', '.join(given)}: leave them out, or name a new file"
        )
    wanted = {name: options.pop(name) for name in _OPTIONS}
    tables: dict[str, Any] = {"protocol": PROTOCOLS, "prevalence": PREVALENCES, "if_too_small": POLICIES}
    for name, table in tables.items():
        if wanted[name] is not None:
            lookup(table, wanted[name], what=name)
    wanted["protocol"] = wanted["protocol"] or "auto"
    for name in ("novel", "unknown"):
        wanted[name] = () if wanted[name] is None else names_in(wanted[name], f"--{name}")
    wanted["n_shot"] = None if wanted["n_shot"] is None else _shots(wanted["n_shot"])
    return wanted


def drawn_or_replayed(
    films: Embeddings,
    wanted: dict[str, Any],
    *,
    file: Path | None,
    seen: Sequence[str] | None,
    progress: Progress | None = None,
) -> Plan:
    """Plan the episodes, or take them from the file; what is new is written to it.

    Args:
        films: labelled; their vectors play no part.
        wanted: of `take_episode_flags`.
        file: of episodes, or None.
        seen: findings that the encoder was trained on; None: not known.
        progress: called with (episodes written, in all).
    """
    if file is not None and file.exists():
        return _replayed(SavedEpisodes.load(file, films), seen, file.name)
    plan = plan_episodes(films, seen=seen, **wanted)
    if file is not None:
        asked = {"protocol": plan.protocol, "seen": plan.seen, "novel": plan.novel, "notes": plan.notes}
        save_episodes(plan.episodes, films, file, drawn_for=asked, progress=progress)
    return plan


def _replayed(episodes: SavedEpisodes, seen: Sequence[str] | None, name: str) -> Plan:
    """Say anew what this encoder was trained on: another one may be judged in the same episodes."""
    asked = episodes.protocol.get("drawn_for", {"protocol": "closed", "seen": [], "novel": [], "notes": []})
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


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _shots(text: str) -> int | dict[str, int]:
    """Read "5", or "covid19=5,normal=20"."""
    parts = [part.strip().rpartition("=") for part in text.split(",")]
    counts = {name: number for name, _, number in parts}
    is_one, are_named = len(parts) == 1 and not parts[0][1], all(name and equals for name, equals, _ in parts)
    if not (is_one or are_named) or len(counts) < len(parts) or not all(map(_is_count, counts.values())):
        raise click.UsageError(f"--n-shot {text}: a number, or finding=number,... was expected, from 1 up")
    return int(text) if is_one else {name: int(number) for name, number in counts.items()}


def _is_count(text: str) -> bool:
    return text.strip().isdecimal() and int(text) > 0


def check_distance(rule: str, distance: str | None) -> None:
    """Refuse a --distance that is unknown, or that the rule would not heed.

    Raises:
        click.UsageError, ValueError: as said.
    """
    if distance is None:
        return
    lookup(DISTANCES, distance, what="distance")
    if rule in OWN_DISTANCE:
        raise click.UsageError(f"--rule {rule} has its own geometry ({OWN_DISTANCE[rule]}): leave --distance out")
