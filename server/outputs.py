"""The ends of an agent's output, whose size does not matter; and whether it has grown."""

from pathlib import Path

from . import transcripts
from .kinds import Kind, objects
from .runner.output import HEAD_BYTES

FILE_NAME = "output.log"
TAIL_BYTES = 1024 * 1024  # the object in which one tells its usage holds its whole answer
WORDS_BYTES = 2**20  # events take several times the room of what they say
NEWLINE = "\n"


def tail(run_dir: str, kind: Kind, *, lines: int, max_chars: int) -> str:
    """The last ``lines`` lines as a person reads them, at most ``max_chars``; empty where nothing was written yet."""
    if not transcripts.are_events(kind):
        data, _ = _end(_files(Path(run_dir)), 4 * max_chars)
        text = data.decode(errors="replace").rstrip(NEWLINE)
        return NEWLINE.join(text.split(NEWLINE)[-lines:])[-max_chars:]
    data, is_cut = _end(_files(Path(run_dir)), WORDS_BYTES)
    said = transcripts.of(kind, data, begins_inside=is_cut)
    if not said and is_cut:
        return f"Its last {WORDS_BYTES:,} bytes hold nothing to read, as in the middle of a very long line."
    return NEWLINE.join(said[-lines:])[-max_chars:]


def ends(run_dir: Path) -> str:
    """How the output began and how it ended, in whole lines; all of it where it is short."""
    files = _files(run_dir)
    end, is_cut = _end(files, HEAD_BYTES + TAIL_BYTES)
    let_go = run_dir / f"{FILE_NAME}.head"
    if let_go.exists():
        head = _head(let_go)
    elif not is_cut:
        whole = end.decode(errors="replace")
        return _from_a_whole_line(whole) if len(files) > 1 else whole
    else:
        head = _from_a_whole_line(_head(files[0])) if len(files) > 1 else _head(files[0])
    tail = end[-TAIL_BYTES:].decode(errors="replace").partition(NEWLINE)[2]
    return f"{head}\n{tail}"


def _head(path: Path) -> str:
    return _piece(path, 0, HEAD_BYTES).decode(errors="replace").rpartition(NEWLINE)[0]


def _from_a_whole_line(head: str) -> str:
    """The older of two files may begin inside of a line, whose rest would be taken for something else than it is."""
    first, _, rest = head.partition(NEWLINE)
    return head if objects.of_line(first) is not None else rest


def _files(run_dir: Path) -> list[Path]:
    """The older one first."""
    return [path for path in (run_dir / f"{FILE_NAME}.1", run_dir / FILE_NAME) if path.exists()]


def _end(files: list[Path], limit: int) -> tuple[bytes, bool]:
    """The last bytes of all together, and whether there is more before them."""
    sizes = [path.stat().st_size for path in files]
    left, found = limit, b""
    for path, size in zip(reversed(files), reversed(sizes), strict=True):
        taken = min(left, size)
        found, left = _piece(path, size - taken, taken) + found, left - taken
    return found, sum(sizes) > limit


def _piece(path: Path, begin: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(length)


def state(run_dir: str) -> tuple[int, int, int]:
    """Differs when something was written, also into a new file of the same name; zeros before there is any."""
    try:
        found = (Path(run_dir) / FILE_NAME).stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
