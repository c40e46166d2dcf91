"""Each shell block of the documents is run as a reader runs it: in order, in a fresh home, with the real command."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from documents import ENDLESS, OUTPUT, PAGES, ROOT, blocks

QUICK_START = ROOT / "docs" / "quick-start.md"
WITH_COMMANDS = [page for page in PAGES if any(block.is_run for block in blocks(page))]
A_REPOSITORY = "git init --quiet project; cd project; git commit --quiet --allow-empty --message First"
MERGES = "crewyard run PLAN.md"
SECONDS = 60.0
CTRL_C = b"\x03"


def read(terminal: int) -> bytes:
    """What is shown next; nothing where whoever showed it has ended."""
    assert select.select([terminal], [], [], SECONDS)[0], "nothing is shown"
    with contextlib.suppress(OSError):  # the terminal's end
        return os.read(terminal, 65536)
    return b""


@dataclass
class Reader:
    """Somebody with a new account of the operating system, who types what a page says. ``here`` is the folder."""

    home: Path
    here: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return {"HOME": str(self.home), "PATH": path, "LC_ALL": "C.UTF-8", "TERM": "xterm"}

    def types(self, text: str) -> str:
        """What is printed; the next block begins in the folder in which this one ended."""
        left_in = self.home / "left-in"
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", f'trap \'pwd >"$HOME/left-in"\' EXIT\n{text}'],
            cwd=self.here, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\nends with {done.returncode}:\n{done.stdout}"
        assert "not found" not in done.stdout, f"{text}\n{done.stdout}"
        self.here = Path(left_in.read_text().strip())
        return done.stdout

    def types_and_ends(self, line: str) -> None:
        """On a terminal: it shows something and goes on, until Ctrl-C."""
        ours, theirs = pty.openpty()
        at_work = subprocess.Popen(
            ["setsid", "--ctty", "sh", "-c", f"exec {line}"], cwd=self.here, env=self.environment,
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        try:
            shown = read(ours)
            with contextlib.suppress(subprocess.TimeoutExpired):
                at_work.wait(1.0)
            assert at_work.poll() is None, f"{line} ends by itself:\n{shown.decode()}"
            os.write(ours, CTRL_C)
            while more := read(ours):
                shown += more
            assert at_work.wait(SECONDS) in (0, 130), f"{line} ends with {at_work.returncode}:\n{shown.decode()}"
            assert shown.strip(), f"{line} shows nothing"
        finally:
            os.close(ours)
            at_work.kill()
            at_work.wait()

    def processes(self) -> list[int]:
        """Those that were started in this home."""
        mark = f"HOME={self.home}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(int(pid))
        return found

    def leave(self) -> None:
        """End what the page left running, as its reader would, and then whatever is left."""
        subprocess.run(
            ["crewyard", "stop", "--force"], cwd=self.here, env=self.environment, check=False, capture_output=True
        )
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    home, here = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    here.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = You\nemail = you@example.org\n")
    made = Reader(home, here)
    yield made
    made.leave()


def follow(reader: Reader, page: Path) -> None:
    """Do what the page says, block by block, and compare what it says that is printed."""
    printed = ""
    for block in blocks(page):
        if block.file:
            (reader.here / block.file).write_text(block.text)
        elif block.language == "text" and OUTPUT in block.marks:
            assert re.search(pattern(block.text), printed), f"{block.where}: not so, but\n{printed}"
        elif block.is_run and ENDLESS in block.marks:
            for line in block.lines:
                reader.types_and_ends(line)
        elif block.is_run:
            printed = reader.types(block.text)


def pattern(text: str) -> str:
    """What a block of output stands for: whole lines one after the other, in which … is anything."""
    lines = (".*".join(map(re.escape, line.split("…"))) for line in text.splitlines())
    return r"(?m)^" + "\n".join(lines) + "$"


def begin(reader: Reader, page: Path) -> None:
    """The README begins in a repository, the quick start in nothing, other pages where the quick start has merged."""
    if page == ROOT / "README.md":
        reader.types(A_REPOSITORY)
    elif page != QUICK_START:
        for block in blocks(QUICK_START):
            if block.is_run:
                reader.types(block.text)
            if MERGES in block.text:
                return


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_each_shell_block_of_a_page_does_what_it_says(page: Path, reader: Reader) -> None:
    begin(reader, page)
    follow(reader, page)


def test_a_page_that_lies_is_found_out(reader: Reader, tmp_path: Path) -> None:
    for text in ("```sh\nfalse\n```", "```sh\ntrue | no-such-program | cat\n```", "```sh\nfalse | cat\n```",
                 "```sh endless\necho done\n```", "```sh\necho one\n```\n\n```text output\ntwo\n```"):  # fmt: skip
        page = tmp_path / "page.md"
        page.write_text(text)
        with pytest.raises(AssertionError):
            follow(reader, page)
