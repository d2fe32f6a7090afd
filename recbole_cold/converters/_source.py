"""Raw files: in a folder, in a .zip, as a .gz or .tar.gz, or plain; read once, line by line."""

import copy
import csv
import gzip
import io
import itertools
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from recbole_cold.errors import UserError
from recbole_cold.paths import refuse_changed, sha256, state_of

LONG = 1 << 25  # bytes; a file above gets a progress bar
_EVERY = 1 << 14  # lines between two updates of the bar
_GZIP = b"\x1f\x8b"
_TAR, _TAR_AT = b"ustar", 257  # what a .tar has at this place
# A disk's fault; an archive that is cut short, damaged, with a password, or of an unknown kind.
_UNREADABLE = (
    OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError,
)  # fmt: skip


class _Opened(NamedTuple):
    stream: BinaryIO
    position: Callable[[], int]  # bytes read so far, of ``size``
    size: int


class Source:
    """What the user gives: a folder, an archive, or a single file.

    Args:
        path: of it.
        what: what it must be, for messages: ``the unpacked folder of x.zip, or x.zip itself``.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self._root, self._inside = path, ""  # what the user gave; a folder in an archive
        self._used: dict[Path, tuple[int, int, int]] = {}  # as they were before they were read

    def part(self, name: str) -> "Source":
        """A folder of this name in this source, or an archive ``name.zip`` in its folder.

        Raises:
            UserError: there is none.
        """
        found = copy.copy(self)  # what it reads counts as read from this source
        if not self.path.is_dir():
            found._inside = f"{self._inside}{name}/"
            return found
        found.path = self.path / name
        if not found.path.is_dir():
            found.path = self.path / f"{name}.zip"
        if not found.path.exists():
            raise self._unreadable(str(self.path / name), "No such file or directory")
        return found

    def file(self, *names: str, encoding: str = "utf-8", alone: bool = False) -> "RawFile":
        """The raw file of one of these names, whichever is there first.

        Args:
            alone: the source may be this file itself, whatever its name.

        Raises:
            UserError: there is none.
        """
        if self.path.is_dir():
            present = [name for name in names if (self.path / name).is_file()]
            path = self.path / (present or names)[0]
            if not present:
                raise self._unreadable(str(path), "No such file or directory")
            return self._plain(path, encoding)
        if not self.path.is_file():
            why = "it is no file and no folder" if self.path.exists() else "it does not exist"
            raise self._unreadable(str(self.path), why)
        if zipfile.is_zipfile(self.path):
            return self._member(names, encoding)
        if not alone:
            raise self._unreadable(str(self.path), "it is no folder and no .zip")
        return self._plain(self.path, encoding)

    def manifest(self) -> list[dict[str, Any]]:
        """Name, size and SHA-256 of every file on disk that was read."""
        return [
            {"file": self._told(path), "bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in self._used
        ]

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Context: files are read in it; what is read of one that changes meanwhile is refused,
        also in place of an error that reading gave, such as a line that is cut short.

        Raises:
            UserError: names a file that was changed, moved or removed.
        """
        try:
            yield
        except (UserError, OSError) as error:
            refuse_changed(self._used, error)
            raise
        refuse_changed(self._used)

    def _told(self, path: Path) -> str:
        """A file's path in the folder that the user gave: several may have one name."""
        return path.relative_to(self._root).as_posix() if path != self._root else path.name

    def _plain(self, path: Path, encoding: str) -> "RawFile":
        @contextmanager
        def opened() -> Iterator[_Opened]:
            with path.open("rb") as file:
                yield _Opened(file, file.tell, path.stat().st_size)

        self._use(path)
        return RawFile(self, str(path), opened, encoding)

    def _member(self, names: tuple[str, ...], encoding: str) -> "RawFile":
        """A file in the archive, in whatever folder of it."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = {
                    name.rpartition("/")[2]: name
                    for name in archive.namelist()
                    if f"/{self._inside}" in f"/{name}"
                }
        except _UNREADABLE as error:
            raise self._unreadable(str(self.path), _why(error)) from error
        found = next((members[name] for name in names if name in members), None)
        if found is None:
            place = f"{self.path}/{self._inside}{names[0]}"
            raise self._unreadable(place, "the archive has no such file")
        member = found

        @contextmanager
        def opened() -> Iterator[_Opened]:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                yield _Opened(file, file.tell, archive.getinfo(member).file_size)

        self._use(self.path)
        return RawFile(self, f"{self.path}/{member}", opened, encoding)

    def _use(self, path: Path) -> None:
        """Remember a file as it is now; of one that is read again, as it was before."""
        try:
            self._used.setdefault(path, state_of(path))
        except OSError as error:
            raise self._unreadable(str(path), _why(error)) from error

    def _unreadable(self, place: str, why: str) -> UserError:
        return UserError(f"cannot read '{place}' ({why}); give {self.what}")


class RawFile:
    """A raw file; every call of ``lines`` or ``rows`` reads it anew.

    Args:
        source: where it is.
        place: its path, for messages.
        opened: opens it.
        encoding: of its text.
    """

    def __init__(self, source: Source, place: str, opened: Any, encoding: str) -> None:
        self.place, self.line = place, 0  # the number of the line that was read last
        self._source, self._opened, self._encoding = source, opened, encoding

    def lines(self) -> Iterator[str]:
        """Its lines without their ends (a newline, or carriage return and newline).

        Raises:
            UserError: it cannot be read to its end, or is written in another encoding.
        """
        for line in self._raw_lines():
            yield line.rstrip("\r\n")

    def rows(
        self,
        columns: tuple[str, ...],
        again: str,
        also: Mapping[str, str] | None = None,
        **form: Any,
    ) -> Iterator[list[str]]:
        """The cells of each line after the header.

        Args:
            columns: what the header must say, blanks around a name aside; each line has as many
                cells.
            again: what to do about a file of another form, for messages.
            also: other names that the header may have -> the column.
            form: how cells are separated and quoted, as for ``csv.reader``.

        Raises:
            UserError: as ``lines``; or a line has another form, which is named.
        """
        lines = self._raw_lines()
        head = next(self._cells(itertools.islice(lines, 1), again, form), [])
        head = [(also or {}).get(name.strip(), name.strip()) for name in head]
        if head != list(columns):
            absent = [name for name in columns if name not in head]
            more = [name for name in head if name not in columns]
            told = f"its header has no {', '.join(absent)}" if absent else "its header differs"
            if more and not absent:
                told = f"its header has {', '.join(more)}, which the official file has not"
            self.line = 1
            raise self.fault(f"is not as it must be ({told}); {again}")
        yield from self._cells(lines, again, form, len(columns))

    def rows_without_header(self, width: int, again: str, **form: Any) -> Iterator[list[str]]:
        """The cells of each line, of a file that has no header; ``width`` of them.

        Raises:
            UserError: as ``rows``.
        """
        yield from self._cells(self._raw_lines(), again, form, width)

    def _cells(
        self, lines: Iterable[str], again: str, form: Mapping[str, Any], width: int | None = None
    ) -> Iterator[list[str]]:
        """The cells of each line, ``width`` of them; None: of a header, as many as there are."""
        try:
            for row in csv.reader(lines, **form):
                if width is not None and len(row) != width:
                    raise self.fault(f"has {len(row)} cells, not {width}; {again}")
                yield row
        except csv.Error as error:
            raise self.fault(f"is not of the expected form ({error}); {again}") from error

    def fault(self, what: str) -> UserError:
        """An error that names the line that was read last."""
        return UserError(f"line {self.line} of '{self.place}' {what}")

    def _raw_lines(self) -> Iterator[str]:
        self.line = 0
        try:
            with self._opened() as raw:
                zipped = raw.stream.peek(2)[:2] == _GZIP
                stream = gzip.GzipFile(fileobj=raw.stream) if zipped else raw.stream
                stream = _first_of_tar(stream)
                # A mark at the beginning that some programs write is no part of the first cell.
                known = "utf-8-sig" if self._encoding == "utf-8" else self._encoding
                text = io.TextIOWrapper(stream, known, newline="")
                with _bar(self.place.rpartition("/")[2], raw.size) as show:
                    for line in text:
                        self.line += 1
                        if not self.line % _EVERY:
                            show(raw.position())
                        yield line
        except UnicodeError as error:
            raise UserError(
                f"'{self.place}' is not written in {self._encoding} somewhere after line "
                f"{self.line}; download it anew"
            ) from error
        except _UNREADABLE as error:
            raise self._source._unreadable(self.place, _why(error)) from error


def _first_of_tar(stream: Any) -> Any:
    """The first file in a .tar, read forwards alone; the stream itself where it is none."""
    if stream.peek(_TAR_AT + len(_TAR))[_TAR_AT:][: len(_TAR)] != _TAR:
        return stream
    archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - closed with its stream
    for member in archive:
        if member.isfile() and not member.name.rpartition("/")[2].startswith("._"):
            return archive.extractfile(member)
    raise tarfile.TarError("there is no file in the archive")


@contextmanager
def _bar(name: str, size: int) -> Iterator[Callable[[int], Any]]:
    """Context: a function that is told the bytes read so far, and shows them on a terminal."""
    if size < LONG or not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from tqdm import tqdm
    except ImportError:  # the scripts of dataset_atomic run on a bare Python
        yield lambda done: None
        return
    with tqdm(total=size, unit="B", unit_scale=True, desc=name, leave=False) as bar:
        yield lambda done: bar.update(done - bar.n)


def _why(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
