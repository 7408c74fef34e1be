"""What an import has settled so far, noted so that it can go on after a kill.

Nothing depends on it but time: a record sent twice is known by its key.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from abaxus_core.errors import AbaxusError, InvalidInput
from abaxus_core.importer.content import STDIN, size_of
from abaxus_core.importer.source import Fault, Reading, Record

PROGRESS_SUFFIX: Final = ".progress"
REJECTS_SUFFIX: Final = ".rejects.ndjson"
STDIN_NAME: Final = "stdin"
TEST_KEY_PREFIX: Final = "abx_test_"


class NotKept(AbaxusError):
    """The notes cannot be written."""

    default_code = "IMPORT_STOPPED"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is imported, how it is read, where it goes, and where notes are kept.

    A progress path of None is the file's own with PROGRESS_SUFFIX, and none for what is no file;
    rejects go beside the file, or into the working directory.
    """

    path: Path
    url: str
    key: str
    reading: Reading = Reading()
    progress: Path | None = None
    rejects: Path | None = None

    @property
    def progress_path(self) -> Path | None:
        if self.progress is not None or size_of(self.path) is None:
            return self.progress
        return self.path.with_name(self.path.name + PROGRESS_SUFFIX)

    @property
    def rejects_path(self) -> Path:
        if self.rejects is not None:
            return self.rejects
        if size_of(self.path) is None:
            return Path(STDIN_NAME + REJECTS_SUFFIX)
        return self.path.with_name(self.path.name + REJECTS_SUFFIX)


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What was begun; an import goes on only where all of it is the same.

    Size and time of change are None of what is no file: there, only the checksum tells.
    """

    size: int | None
    modified_ns: int | None
    url: str
    mode: str
    reading: Reading


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`checksum` is over the events up to `last_number`; `reasons` are the rejects by code."""

    begun: Begun
    last_number: int = 0
    checksum: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: dict[str, int] = {}
    rejects_size: int = 0

    @property
    def total(self) -> int:
        return self.accepted + self.duplicates + self.rejected


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """`record` is the number of the line, or of the row below the header; `event` as it was."""

    record: int
    error: Fault
    event: str


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch; `rejects` in the order of their records."""

    accepted: int = 0
    duplicates: int = 0
    rejects: tuple[Reject, ...] = ()


class Ledger:
    """The progress of one source to one API, and what was rejected of it.

    Raises InvalidInput where a note would overwrite what is not one, NotKept where none can be
    written.
    """

    def __init__(self, order: Order) -> None:
        self.rejects_path = order.rejects_path
        self._progress_path = order.progress_path
        _check_paths(order.path, self.rejects_path, self._progress_path)
        fresh = Progress(begun=_begun(order))
        self.progress = self._kept(fresh) or fresh
        self.resumed = self.progress.last_number > 0
        self._cut_rejects()

    def pass_settled(self, records: Iterator[Record]) -> None:
        """Consume what was settled before. Raises InvalidInput when it is not the same."""
        if not self.resumed:
            return
        checksum = 0
        for record in records:
            checksum = zlib.crc32(record.event, checksum)
            if record.number >= self.progress.last_number:
                break
        if checksum != self.progress.checksum:
            raise InvalidInput(
                f"the first {self.progress.last_number} records are not those that "
                f"{self._progress_path} tells of; remove it to import all from the start"
            )

    def settle(self, batch: Sequence[Record], settled: Settled) -> None:
        """Note what became of the next records in the source's order."""
        if settled.rejects:
            self._write_rejects(settled.rejects)
        before = self.progress
        reasons = Counter(before.reasons)
        reasons.update(reject.error.code for reject in settled.rejects)
        self.progress = msgspec.structs.replace(
            before,
            last_number=batch[-1].number,
            checksum=zlib.crc32(b"".join(record.event for record in batch), before.checksum),
            accepted=before.accepted + settled.accepted,
            duplicates=before.duplicates + settled.duplicates,
            rejected=before.rejected + len(settled.rejects),
            reasons=dict(reasons),
            rejects_size=self._rejects_size(),
        )
        self._write_progress()

    def close(self) -> None:
        """The source is through: nothing is left to go on with."""
        if self._progress_path is not None:
            self._progress_path.unlink(missing_ok=True)

    def _kept(self, fresh: Progress) -> Progress | None:
        """What is noted of the same import, its rejects all there; else None."""
        if self._progress_path is None or not self._progress_path.exists():
            return None
        content = self._progress_path.read_bytes()
        try:
            kept = msgspec.json.decode(content, type=Progress)
        except msgspec.MsgspecError as error:
            if not content:
                return None
            raise InvalidInput(
                f"{self._progress_path} is no note of an import; remove it, or name another file "
                "with --progress"
            ) from error
        return kept if kept.begun == fresh.begun and self._has_rejects(kept) else None

    def _has_rejects(self, kept: Progress) -> bool:
        return self._rejects_size() >= kept.rejects_size

    def _rejects_size(self) -> int:
        return self.rejects_path.stat().st_size if self.rejects_path.is_file() else 0

    def _cut_rejects(self) -> None:
        """Forget rejects behind the last note: their records are sent again."""
        if not self.rejects_path.is_file():
            return
        if not self.progress.rejects_size:
            self.rejects_path.unlink()
            return
        with self.rejects_path.open("ab") as file:
            file.truncate(self.progress.rejects_size)

    def _write_rejects(self, rejects: Sequence[Reject]) -> None:
        lines = [msgspec.json.encode(reject) + b"\n" for reject in rejects]
        try:
            with self.rejects_path.open("ab") as file:
                file.writelines(lines)
        except OSError as error:
            raise NotKept(
                f"rejects cannot be written: {error}; name another file with --rejects"
            ) from error

    def _write_progress(self) -> None:
        path = self._progress_path
        if path is None:
            return
        draft = path.with_name(path.name + ".new")
        try:
            draft.write_bytes(msgspec.json.encode(self.progress))
            draft.replace(path)
        except OSError as error:
            raise NotKept(
                f"progress cannot be noted: {error}; name another file with --progress"
            ) from error


def _begun(order: Order) -> Begun:
    size = size_of(order.path)
    return Begun(
        size=size,
        modified_ns=None if size is None else order.path.stat().st_mtime_ns,
        url=order.url,
        mode="test" if order.key.startswith(TEST_KEY_PREFIX) else "live",
        reading=order.reading,
    )


def _check_paths(source: Path, rejects: Path, progress: Path | None) -> None:
    paths = [path.resolve() for path in (source, rejects, progress) if path is not None]
    if source == STDIN:
        del paths[0]
    if len(set(paths)) < len(paths):
        raise InvalidInput("events, --progress and --rejects must be different files")
    if progress is not None and progress.exists() and not progress.is_file():
        raise InvalidInput(f"--progress {progress} must be a file")


def reject_of(record: Record, fault: Fault) -> Reject:
    """The record as it goes into the file of rejects."""
    return Reject(
        record=record.number, error=fault, event=record.event.decode("utf-8", "backslashreplace")
    )
