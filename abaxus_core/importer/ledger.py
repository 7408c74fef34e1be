"""What an import has settled so far, kept beside the file so that it can go on after a kill.

Nothing depends on it but time: a record sent twice is known by its key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from abaxus_core.importer.sender import BatchResult, ItemError
from abaxus_core.importer.source import Record

PROGRESS_SUFFIX: Final = ".progress"
REJECTS_SUFFIX: Final = ".rejects.ndjson"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`size` and `modified_ns` tell whether the file is still the one that was begun."""

    size: int
    modified_ns: int
    url: str
    last_number: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0

    @property
    def total(self) -> int:
        return self.accepted + self.duplicates + self.rejected


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """`record` is the number of the line, or of the row below the header; `event` as it was."""

    record: int
    error: ItemError
    event: str


class Ledger:
    """The progress of one file to one API, and what was rejected of it."""

    def __init__(self, path: Path, url: str) -> None:
        self._progress_path = path.with_name(path.name + PROGRESS_SUFFIX)
        self.rejects_path = path.with_name(path.name + REJECTS_SUFFIX)
        fresh = Progress(size=path.stat().st_size, modified_ns=path.stat().st_mtime_ns, url=url)
        self.progress = self._kept(fresh) or fresh
        self.resumed = self.progress.last_number > 0
        if not self.resumed:
            self.rejects_path.unlink(missing_ok=True)

    def settle(self, batch: Sequence[Record], result: BatchResult) -> None:
        """Note what became of the next records in the file's order."""
        rejects = [
            _reject(batch[one.index], one.error) for one in result.results if one.error is not None
        ]
        self._settle(batch[-1].number, result, rejects)

    def settle_unsent(self, record: Record, fault: str) -> None:
        """Note a record that is not worth sending."""
        error = ItemError(code="MALFORMED_JSON", message=fault)
        result = BatchResult(accepted=0, duplicates=0, rejected=1, results=[])
        self._settle(record.number, result, [_reject(record, error)])

    def close(self) -> None:
        """The file is through: nothing is left to go on with."""
        self._progress_path.unlink(missing_ok=True)

    def _settle(self, last_number: int, result: BatchResult, rejects: Sequence[Reject]) -> None:
        if rejects:
            with self.rejects_path.open("ab") as file:
                file.writelines(msgspec.json.encode(reject) + b"\n" for reject in rejects)
        self.progress = msgspec.structs.replace(
            self.progress,
            last_number=last_number,
            accepted=self.progress.accepted + result.accepted,
            duplicates=self.progress.duplicates + result.duplicates,
            rejected=self.progress.rejected + result.rejected,
        )
        draft = self._progress_path.with_name(self._progress_path.name + ".new")
        draft.write_bytes(msgspec.json.encode(self.progress))
        draft.replace(self._progress_path)

    def _kept(self, fresh: Progress) -> Progress | None:
        try:
            kept = msgspec.json.decode(self._progress_path.read_bytes(), type=Progress)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        same = (kept.size, kept.modified_ns, kept.url) == (fresh.size, fresh.modified_ns, fresh.url)
        return kept if same else None


def _reject(record: Record, error: ItemError) -> Reject:
    return Reject(
        record=record.number, error=error, event=record.event.decode("utf-8", "backslashreplace")
    )
