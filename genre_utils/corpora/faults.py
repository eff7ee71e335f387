"""What is documented about GTZAN's clips: replicas, excerpts of one song, artists, unusable files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache

from genre_utils.paths import package_data


def about(ids, faults: dict) -> dict:
    """The part of `faults` (see :attr:`genre_utils.corpora.Corpus.faults`) that is about clips `ids`.

    Groups of which fewer than two clips are left are dropped.
    """
    ids, kept = set(ids), {}
    for kind, known in faults.items():
        if isinstance(known, dict):
            kept[kind] = {clip: what for clip, what in known.items() if clip in ids}
        else:
            groups = (type(group)(clip for clip in group if clip in ids) for group in known)
            kept[kind] = [group for group in groups if len(group) > 1]
    return kept


@dataclass(frozen=True)
class Faults:
    """Documented facts about the clips of a corpus, and their `source`.

    Groups of clip ids are copies of one excerpt (`replicas`) or excerpts of one song, copies among them
    (`same_recording`); `artists` (where known) and `unusable` (why) go by clip id. Wrong labels are not among them: the
    literature counts 43 conspicuous and 63 contentious ones in GTZAN, but they are judgements.
    """

    replicas: tuple[tuple[str, ...], ...] = ()
    same_recording: tuple[tuple[str, ...], ...] = ()
    artists: dict[str, str] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)

    def among(self, ids) -> dict:
        """The part about clips `ids`, in the form of :attr:`genre_utils.corpora.Corpus.faults`."""
        known = {"replicas": self.replicas, "same_recording": self.same_recording, "unusable": self.unusable}
        return about(ids, known)


@lru_cache(maxsize=1)
def gtzan_faults() -> Faults:
    """GTZAN's documented faults: 46 groups of replicas, 67 of one song, the artists of 919 clips.

    From Sturm's index of GTZAN and two independent replica lists. Six of the replica groups are not borne out by
    distances between hand-crafted features; a split that separates them unnecessarily loses nothing.
    """
    content = json.loads(package_data("gtzan_faults.json").read_text(encoding="utf-8"))
    # The index spells one artist two ways, in capitals only; the first spelling names the artist here.
    spelling = {artist.casefold(): artist for artist in reversed(content["artist_of_clip"].values())}
    return Faults(
        replicas=tuple(tuple(group["clips"]) for group in content["replica_groups"]),
        same_recording=tuple(tuple(group["clips"]) for group in content["same_song_groups"]),
        artists={clip: spelling[artist.casefold()] for clip, artist in content["artist_of_clip"].items()},
        unusable=content["unusable"],
        source=content["source"],
    )
