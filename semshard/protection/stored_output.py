"""An output on an object store: made in a temporary folder, from where each file is sent when it is whole.

    what a process sends                                          how
    run.json                  the lock: whose output it is        if absent
    index/ and plan/          then index.json, their mark         if absent
    surrogate.safetensors     its checkpoint before it            if absent
    parts.json                the machine of the first part       if absent
    NNNNN.tar, .parquet       then the ledger's rows, then
                              NNNNN_stats.json, their mark        if absent
    manifest.json             after all that it names and all     put
                              that is made of it

Nothing else holds processes together: no two need to see each other, or the same disk. What a process was about to
send when it ended is not there, and the next one makes it again with the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..atomic import AFTERWARDS
from ..digests import sha256_if_there
from ..errors import AlreadyThere, OutputError
from ..progress import Event, Progress
from ..publishing import FILES
from ..shards import Ledger, ShardStats, list_in, read_stats, shard_in, shard_name, stats_bytes
from ..shards.ledger_files import is_ledger_file, is_scan_block, is_unfinished_network
from ..shards.manifest import FILE as MANIFEST
from ..signing import FILE as SIGNATURE
from ..storage import LocalPlace, Part, Place, fetch_file, publish
from ..threads import behind
from .output import Output
from .settle import is_pending

TOGETHER = 8  # small files that are fetched at once
SHARE = 20  # sending checkpoints takes one part in so many of the time
_RUN, _INDEX, _PARTS, _REJECTS, _RECORD = "run.json", "index.json", "parts.json", "rejects.jsonl", "published.json"


class StoredOutput(Output):
    """An output in a temporary folder and in two places: of the shards, and of their ledger."""

    anew = "Choose another --out"

    def __init__(self, home: Path, shards: Place, private: Place, progress: Progress) -> None:
        super().__init__(home / "shards", Ledger(home / "shards.ledger"))
        self._home, self._shards, self._private, self._progress = home, shards, private, progress
        self._sizes = dict[str, int]()  # of the files of shards that are there
        self._rows = set[str]()  # the ledger's files of shards that are there
        self._fetched = dict[str, str]()  # other public files that are there → SHA-256
        self._blocks = set[str]()  # of a scan that are there
        self._next_checkpoint = 0.0  # not before this moment
        self.ledger.saved = self._save

    @property
    def url(self) -> str:
        return self._shards.url

    @property
    def ledger_url(self) -> str:
        return self._private.url

    def in_words(self, text: str) -> str:
        """A message about the temporary folder as one about the places."""
        if str(self._home) in text and AFTERWARDS in text:
            return f"{text}; TMPDIR says where shards are made before they are sent"
        return text.replace(str(self.ledger.path), self.ledger_url).replace(str(self.out), self.url)

    def progress(self, event: Event) -> None:
        """What the run reports, about the places."""
        self._progress(replace(event, message=self.in_words(event.message)))

    # --- what is there -----------------------------------------------------------------------------------------------

    def fetch(self, networks: bool) -> None:
        """Bring what is there of the run, but shards and the ledger's rows of them, `networks` where they are needed.

        Of the ledger's place only files that a ledger can have are read. Raises `OutputError` where something else is
        there and no run, `StorageError`.
        """
        self.out.mkdir()
        self.ledger.path.mkdir(mode=0o700)
        there = {entry.name: entry.size for entry in self._shards.list()}  # first: shards come after their run
        found = {entry.name for entry in self._private.list()}
        private = set(filter(is_ledger_file, found))
        self._sizes = {name: size for name, size in there.items() if shard_in(name) is not None}
        self._rows = {name for name in private if shard_in(name) is not None}
        self._blocks = set(filter(is_scan_block, private))
        if _RUN not in private and there:
            raise OutputError(
                f"{self.url} holds {min(there)}, but {self.ledger_url} knows no run; choose an empty --out, or say "
                "with --ledger where its ledger is"
            )
        others = found - self._blocks - {_REJECTS}  # which a scan may have left that was killed
        if _RUN not in private and others:
            raise OutputError(
                f"{self.ledger_url} holds {min(others)}, but no {_RUN}; choose an empty place with --ledger"
            )
        if not {_RUN, _INDEX} <= private:  # begun at most
            self._fetch(self._private, sorted(self._blocks), self.ledger.path)
            return
        described = sorted(name for name in there if list_in(name) is not None or name in (MANIFEST, SIGNATURE, *FILES))
        self._fetch(self._shards, described, self.out)
        self._fetched = {name: sha256_if_there(self.out / name) for name in described}
        surrogate, unfinished = {self.ledger.surrogate.name}, set(filter(is_unfinished_network, private))
        needed = (private & surrogate or unfinished) if networks else set()
        wanted = private - self._blocks - self._rows - ((surrogate | unfinished) - needed)
        self._fetch(self._private, sorted(wanted), self.ledger.path)
        if is_pending(self.out, self.ledger.state()):
            raise OutputError(
                f"a change of {self.url} is not complete; copy it and its ledger to a folder to complete it"
            )

    def _fetch(self, place: Place, names: Iterable[str], folder: Path) -> None:
        """Bring those files; those that are gone are left out."""

        def fetch(name: str) -> None:
            with suppress(FileNotFoundError):
                fetch_file(place, name, folder / name)

        with ThreadPoolExecutor(TOGETHER) as pool:
            for _ in pool.map(fetch, names):
                pass

    def stats(self, shard: int) -> ShardStats | None:
        return self.stats_of([shard])[0]

    def stats_of(self, shards: Iterable[int]) -> list[ShardStats | None]:
        stems = [shard_name(shard, self.ledger.digits) for shard in shards]
        marks = [mark for stem in stems if (mark := _mark(stem)) in self._sizes]
        self._fetch(self._shards, [mark for mark in marks if not (self.out / mark).exists()], self.out)
        return [self._whole(stem) for stem in stems]

    def _whole(self, stem: str) -> ShardStats | None:
        stats = read_stats(self.out / _mark(stem)) if _mark(stem) in self._sizes else None
        sizes = [self._sizes.get(f"{stem}{ending}") for ending in (".tar", ".parquet")]
        is_whole = stats and sizes == [stats.bytes, stats.parquet_bytes] and f"{stem}.parquet" in self._rows
        return stats if is_whole else None

    def has_marks(self) -> bool:
        return any(name.endswith(_mark("")) for name in self._sizes)

    def gather(self, shards: Iterable[int]) -> None:
        names = {f"{shard_name(shard, self.ledger.digits)}.parquet" for shard in shards} & self._rows
        absent = [name for name in sorted(names) if not (self.ledger.path / name).exists()]
        self._fetch(self._private, absent, self.ledger.path)

    # --- what a run has written --------------------------------------------------------------------------------------

    def claim(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        super().claim(run)
        if not self._put_first(_RUN):
            self._forget(is_scan_block)  # whoever was faster has scanned
        return self.ledger.run() or run

    def begun(self) -> None:
        folder = self.ledger.path
        names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*.parquet")]
        listed = [name for name in sorted(names) if name not in self._blocks]
        parts = [Part(self._private, name, folder / name) for name in (_REJECTS, *listed)]
        mine = (folder / _INDEX).read_bytes()
        try:
            publish(parts, self._private, _INDEX, mine)
        except AlreadyThere:
            self._fetch(self._private, [_INDEX], folder)
            theirs = (folder / _INDEX).read_bytes()
            if any(json.loads(mine)[name] != json.loads(theirs)[name] for name in ("files", "plan")):
                raise OutputError(
                    f"another process has scanned the same source into {self.ledger_url}, and found other files; run "
                    "the same command again"
                ) from None
        self._forget(is_scan_block)

    def _forget(self, *kinds: Callable[[str], bool]) -> None:
        """Delete what a scan or a training that has ended went on from, whoever sent it."""
        for entry in list(self._private.list()):
            if any(is_of_kind(entry.name) for is_of_kind in kinds):
                self._private.delete(entry.name)

    def surrogate_written(self) -> bool:
        is_mine = self._put_first(self.ledger.surrogate.name)
        if not is_mine:
            self._progress(
                Event("surrogate", message=f"another process was faster: the surrogate is that in {self.ledger_url}")
            )
        self._forget(is_unfinished_network)
        return is_mine

    def write_parts(self, parts: Mapping[str, Any]) -> None:
        super().write_parts(parts)
        self._put_first(_PARTS)

    def forget_parts(self) -> None:
        """Nothing: a part may be making its first shard now, on the machine that was written down."""

    def publishing(self) -> AbstractContextManager[Callable[[ShardStats], None]]:
        return behind(self._publish)

    def _publish(self, made: Iterator[ShardStats]) -> None:
        for stats in made:
            stem = shard_name(stats.shard, self.ledger.digits)
            tar, table = self.out / f"{stem}.tar", self.out / f"{stem}.parquet"
            if _mark(stem) in self._sizes:  # beside a tar that is missing, or has another size
                self._shards.delete(_mark(stem))
            parts = [
                Part(self._shards, tar.name, tar),
                Part(self._shards, table.name, table),
                Part(self._private, table.name, self.ledger.path / table.name),
            ]
            try:
                publish(parts, self._shards, _mark(stem), stats_bytes(stats))
            except AlreadyThere:
                raise AlreadyThere(
                    f"{self.url} has a shard {stats.shard} of other bytes than the one that was made here: another "
                    "process has made it, on another kind of machine or from changed images. It stays"
                ) from None
            self._sizes |= {
                tar.name: stats.bytes,
                table.name: stats.parquet_bytes,
                _mark(stem): len(stats_bytes(stats)),
            }
            self._rows.add(table.name)
            tar.unlink()
            table.unlink()

    def finished(self) -> None:
        here = {path.name for path in self.out.iterdir() if shard_in(path.name) is None}
        for name in sorted(self._fetched.keys() - here):
            self._shards.delete(name)
        changed = [name for name in sorted(here) if sha256_if_there(self.out / name) != self._fetched.get(name)]
        if not changed:
            return
        for name in changed:
            if name != MANIFEST:
                self._shards.put(name, self.out / name)
        for name in (_REJECTS, _RECORD):
            self._private.put(name, self.ledger.path / name)
        self._forget(is_scan_block, is_unfinished_network)
        if MANIFEST in changed:
            self._shards.put(MANIFEST, self.out / MANIFEST)

    def _put_first(self, name: str) -> bool:
        """Send a file of the ledger where none is there. Returns whether its bytes are there now; otherwise those that
        are there take its place here.
        """
        self._make_private()
        try:
            self._private.put_if_absent(name, (self.ledger.path / name).read_bytes())
        except AlreadyThere:
            fetch_file(self._private, name, self.ledger.path / name)
            return False
        return True

    def _save(self, path: Path) -> None:
        """Send a file of the ledger that a later process can go on from, a checkpoint not too often."""
        name = path.relative_to(self.ledger.path).as_posix()
        is_checkpoint = path == self.ledger.checkpoint
        start = time.monotonic()
        if is_checkpoint and start < self._next_checkpoint:
            return
        self._make_private()
        self._private.put(name, path)
        if is_checkpoint:
            self._next_checkpoint = time.monotonic() + SHARE * (time.monotonic() - start)
        elif is_scan_block(name):
            self._blocks.add(name)

    def _make_private(self) -> None:
        """A ledger in a folder is its owner's alone."""
        if isinstance(self._private, LocalPlace):
            self._private.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._private.folder.chmod(0o700)


def _mark(stem: str) -> str:
    return f"{stem}_stats.json"
