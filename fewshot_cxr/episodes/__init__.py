"""Few-shot episodes as values: drawn by key, saved, replayed; no patient is on both sides of one."""

from fewshot_cxr.episodes.block import EpisodeBlock, EpisodePart
from fewshot_cxr.episodes.class_pool import support_group_count
from fewshot_cxr.episodes.drawn import Episodes
from fewshot_cxr.episodes.file import EpisodeSource, SavedEpisodes, save_episodes
from fewshot_cxr.episodes.policy import POLICIES
from fewshot_cxr.episodes.query_shares import PREVALENCES

__all__ = [
    "POLICIES",
    "PREVALENCES",
    "EpisodeBlock",
    "EpisodePart",
    "EpisodeSource",
    "Episodes",
    "SavedEpisodes",
    "save_episodes",
    "support_group_count",
]
