"""Signed checkpoints of ledgers in a second place: whoever owns the bucket can no longer shorten a ledger unseen.

    checkpoints/<model>/00000042.json                 in another bucket
    refs/tags/tidegate/checkpoint/<model>/00000042    in the project's git repository: an annotated tag, its message the same JSON

Both hold a DSSE v1 envelope around the checkpoint, signed by the project's ``signing_key``. The chain of a ledger shows an edit; it
cannot show that the newest entries were taken away. A checkpoint can.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from tidegate import digest as digests
from tidegate import pem
from tidegate.clock import Clock, format_time
from tidegate.errors import IntegrityError, RefusedError, TidegateError, UnavailableError, without_passwords
from tidegate.gate.attestation import Envelope, sign, verify
from tidegate.records.checkpoint import Checkpoint
from tidegate.records.ledger import Promoted, RolledBack
from tidegate.records.names import is_name
from tidegate.release.ledger import read_entries
from tidegate.settings import Settings
from tidegate.store.bucket import FolderBucket, open_bucket
from tidegate.store.ports import Bucket
from tidegate.tracking.git import Git, GitError

PAYLOAD = "application/vnd.tidegate.checkpoint+json"
_TAGS = "tidegate/checkpoint"
_KEY = re.compile(r"checkpoints/(?P<model>[^/]+)/(?P<seq>[0-9]{8})\.json")
_GIT_SECONDS = 30.0


class CheckpointPlace(Protocol):
    """A second place. Checkpoints are put there once and stay; any number of processes may put and read at once.

    Errors: ``UnavailableError`` when the place cannot be reached.
    """

    name: str
    """As people know it."""

    def put(self, model: str, seq: int, data: bytes) -> bool:
        """Stores an envelope unless the place has one of this entry; tells whether it did."""
        ...

    def read(self, model: str) -> list[tuple[int, bytes]]:
        """Every envelope of a model with the number of its entry, oldest first."""
        ...

    def newest(self, model: str) -> tuple[int, bytes] | None:
        """The envelope of the newest entry of a model that has one."""
        ...

    def models(self) -> list[str]:
        """Whose checkpoints are there."""
        ...


class Standing(NamedTuple):
    """The newest checkpoint of a ledger in one place. The entry that it has seen holds the digest of the one before, so it speaks for all."""

    place: str
    seq: int = 0
    """The entry that it has seen; 0: there is none."""
    at: int = 0
    """When it was taken, in microseconds UTC."""
    behind: bool = False
    """Whether the pointer has moved since."""
    problem: str = ""
    """In what it contradicts the ledger, or why nobody can say."""


class BucketPlace:
    """Another bucket: a folder's path, or an address like ``s3://audit/tidegate``. Best one that the models' owners cannot write to."""

    def __init__(self, location: str, cache: Path | None = None) -> None:
        self.name = without_passwords(location)
        self._location = location
        self._cache = cache

    @cached_property
    def _bucket(self) -> Bucket:
        """Opened when it is needed: a place that is away must not hold up anything else."""
        return open_bucket(self._location, self._cache) if "://" in self._location else FolderBucket(Path(self._location))

    def put(self, model: str, seq: int, data: bytes) -> bool:
        """See ``CheckpointPlace``."""
        return self._bucket.put_if_absent(f"checkpoints/{model}/{seq:08d}.json", data)

    def read(self, model: str) -> list[tuple[int, bytes]]:
        """See ``CheckpointPlace``."""
        found = [(match, key) for key in self._bucket.keys(f"checkpoints/{model}/") if (match := _KEY.fullmatch(key))]
        blobs = [(int(match["seq"]), self._bucket.find(key)) for match, key in found]
        return [(seq, blob.data) for seq, blob in blobs if blob is not None]

    def newest(self, model: str) -> tuple[int, bytes] | None:
        """See ``CheckpointPlace``."""
        found = max(
            ((int(match["seq"]), key) for key in self._bucket.keys(f"checkpoints/{model}/") if (match := _KEY.fullmatch(key))),
            default=None,
        )
        blob = self._bucket.find(found[1]) if found else None
        return (found[0], blob.data) if found and blob else None

    def models(self) -> list[str]:
        """See ``CheckpointPlace``."""
        return sorted({match["model"] for key in self._bucket.keys("checkpoints/") if (match := _KEY.fullmatch(key))})


class TagPlace:
    """Annotated tags in a git repository. They leave the machine when somebody pushes them: ``git push --tags``."""

    def __init__(self, repository: Path) -> None:
        self.name = f"git tags of {repository}"
        self._repository = repository

    def put(self, model: str, seq: int, data: bytes) -> bool:
        """See ``CheckpointPlace``. The tag stands at the commit that is checked out."""
        tag = f"{_TAGS}/{model}/{seq:08d}"
        if self._git("tag", "--list", tag):
            return False
        who = ("-c", "user.name=tidegate", "-c", "user.email=tidegate@localhost", "-c", "tag.gpgSign=false")
        self._git(*who, "tag", "--annotate", "--cleanup=verbatim", "--file=-", tag, "HEAD", given=data + b"\n")
        return True

    def read(self, model: str) -> list[tuple[int, bytes]]:
        """See ``CheckpointPlace``."""
        return [(int(tag), self._contents(model, tag)) for tag in self._numbers(model)]

    def newest(self, model: str) -> tuple[int, bytes] | None:
        """See ``CheckpointPlace``."""
        tag = max(self._numbers(model), key=int, default="")
        return (int(tag), self._contents(model, tag)) if tag else None

    def models(self) -> list[str]:
        """See ``CheckpointPlace``."""
        refs = self._git("for-each-ref", "--format=%(refname:lstrip=-2)", f"refs/tags/{_TAGS}/").decode().split()
        return sorted({ref.partition("/")[0] for ref in refs})

    def _numbers(self, model: str) -> list[str]:
        tags = self._git("for-each-ref", "--format=%(refname:lstrip=-1)", f"refs/tags/{_TAGS}/{model}/").decode().split()
        return [tag for tag in tags if tag.isdigit()]

    def _contents(self, model: str, tag: str) -> bytes:
        return self._git("for-each-ref", "--format=%(contents)", f"refs/tags/{_TAGS}/{model}/{tag}").strip()

    def _git(self, *words: str, given: bytes | None = None) -> bytes:
        try:
            return Git(self._repository, seconds=_GIT_SECONDS)(*words, given=given)
        except GitError as error:
            raise UnavailableError(
                "checkpoint-place-away",
                f"the {self.name} cannot be used",
                why=str(error),
                fix="make the project's folder a git repository with a commit, or set checkpoint_bucket instead",
            ) from None


def checkpoint_places(settings: Settings, folder: Path, cache: Path) -> list[CheckpointPlace]:
    """The places that the settings of a project name; ``cache`` is for copies of what is in a bucket elsewhere."""
    places: list[CheckpointPlace] = []
    if settings.checkpoint_bucket:
        location = settings.checkpoint_bucket
        places.append(BucketPlace(location if "://" in location else str(folder / location), cache))
    if settings.checkpoint_tags:
        places.append(TagPlace(folder))
    return places


class Checkpoints:
    """Writes and checks the checkpoints of the ledgers in one bucket."""

    def __init__(self, bucket: Bucket, clock: Clock, places: Sequence[CheckpointPlace], key: str) -> None:
        """``key`` is the private signing key (PEM or a path); empty: checkpoints can be read, not written."""
        self._bucket = bucket
        self._clock = clock
        self._key = key
        self.places = list(places)

    def take(self, model: str) -> Checkpoint | None:
        """Signs what the ledger ends with now and puts it into every place; None for a ledger without entries.

        Raises:
            RefusedError: no place or no key is configured.
            BadInputError: the key cannot be used.
            UnavailableError: a place cannot be reached; the others have it.
        """
        if not self.places or not self._key:
            missing = "signing_key" if self.places else "checkpoint_bucket or checkpoint_tags"
            raise RefusedError(
                "checkpoint-not-configured",
                "no checkpoint can be taken",
                why=f"the setting {missing} is empty",
                fix="docs/how-to/release-a-model.md shows the settings",
            )
        entries = read_entries(self._bucket, model)
        if not entries:
            return None
        checkpoint = Checkpoint(model=model, seq=len(entries), head=entries[-1][0], at=self._clock.now())
        data = digests.canonical(sign(digests.canonical(checkpoint), self._key, PAYLOAD))
        away: list[UnavailableError] = []
        for place in self.places:
            try:
                place.put(model, checkpoint.seq, data)
            except UnavailableError as error:
                away.append(error)
        if away:
            raise away[0]
        return checkpoint

    def verify(self, model: str, key: str = "") -> tuple[int, list[str]]:
        """Holds a ledger against every checkpoint of it; returns how many there are and what is wrong, in sentences.

        ``key`` is the public key (PEM or a path); empty: the other half of the signing key. Without either, signatures are not
        checked, and where there is a checkpoint that is a problem of its own.

        Raises:
            IntegrityError: an entry of the ledger cannot be read.
        """
        entries = [digest for digest, _ in read_entries(self._bucket, model)]
        found, problems = 0, list[str]()
        for place in self.places:
            try:
                stored = place.read(model)
            except TidegateError as error:
                problems.append(f"the checkpoints in {place.name} cannot be read: {error.what}: {error.why}")
                continue
            found += len(stored)
            for seq, data in stored:
                where = f"checkpoint {seq} of {model} in {place.name}"
                problems += [f"{where} {problem}" for problem in self._problems(model, seq, data, entries, key)]
        return found, problems

    def problems(self, models: Sequence[str]) -> list[str]:
        """What is wrong with the ledgers of these models, and of those that only a checkpoint still knows."""
        problems: list[str] = []
        try:
            known = sorted({*models, *self.models()})
        except TidegateError as error:
            return [f"checkpoints cannot be read: {error.what}: {error.why}"]
        for model in known:
            try:
                problems += self.verify(model)[1]
            except IntegrityError:
                continue  # the ledger's own check tells it
        return problems

    def newest(self, model: str) -> int:
        """The newest entry that every place has a checkpoint of; 0 if one has none."""
        return min((found[0] if (found := place.newest(model)) else 0 for place in self.places), default=0)

    def standing(self, model: str) -> list[Standing]:
        """The newest checkpoint of a ledger in each place, held against the ledger. Raises nothing about a place that is away.

        Raises:
            IntegrityError: an entry of the ledger cannot be read.
        """
        pairs = read_entries(self._bucket, model) if self.places else []
        entries = [digest for digest, _ in pairs]
        moved = max((entry.seq for _, entry in pairs if isinstance(entry.event, Promoted | RolledBack)), default=0)
        found: list[Standing] = []
        for place in self.places:
            try:
                newest = place.newest(model)
            except TidegateError as error:
                found.append(Standing(place.name, problem=f"{error.what}: {error.why}"))
                continue
            if newest is None:
                found.append(Standing(place.name))
                continue
            seq, data = newest
            problems = self._problems(model, seq, data, entries, "")
            if problems:
                found.append(Standing(place.name, seq, problem=f"checkpoint {seq} in {place.name} {problems[0]}"))
            else:
                found.append(Standing(place.name, seq, self._opened(data, "").at, behind=seq < moved))
        return found

    def models(self) -> list[str]:
        """Every model that some place has a checkpoint of, whether the bucket still knows it or not."""
        return sorted({name for place in self.places for name in place.models() if is_name(name)})

    def _problems(self, model: str, seq: int, data: bytes, entries: Sequence[str], key: str) -> list[str]:
        try:
            checkpoint = self._opened(data, key)
        except TidegateError as error:
            return [f"cannot be trusted: {error.what}: {error.why}"]
        if (checkpoint.model, checkpoint.seq) != (model, seq):
            return [f"speaks of entry {checkpoint.seq} of {checkpoint.model}"]
        when = format_time(checkpoint.at)
        if seq > len(entries):
            return [f"of {when} has seen entry {seq}, the ledger ends at {len(entries)}: it was cut short"]
        if entries[seq - 1] != checkpoint.head:
            return [f"of {when} has seen another entry {seq} than the ledger holds: it was changed"]
        return []

    def _opened(self, data: bytes, key: str) -> Checkpoint:
        """The checkpoint in an envelope that the key has signed."""
        if not key and not self._key:
            raise IntegrityError("signature-wrong", "its signature was not checked", why="no key was given: --key FILE")
        public = key or pem.public_pem(self._key)
        try:
            envelope = digests.parsed(data, Envelope)
            return digests.parsed(verify(envelope, public, PAYLOAD), Checkpoint)
        except msgspec.MsgspecError as error:
            raise IntegrityError("signature-wrong", "it is no checkpoint", why=str(error)) from None
