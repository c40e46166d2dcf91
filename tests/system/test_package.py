"""The wheel and the sdist hold everything, and work where nothing of the checkout is."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

OPENS_A_DATABASE = """
from pathlib import Path
from crewyard.server.store import Store
import crewyard
store = Store(Path("data/orchestrator.db").absolute())
print(store.read(lambda tx: tx.value("SELECT count(*) FROM specs_task")), crewyard.__file__)
store.close()
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(what: str, source: Path, into: Path) -> Path:
    run(sys.executable, "-m", "build", "--no-isolation", f"--{what}", "--outdir", into, source)
    [made] = into.iterdir()
    return made


def names_in(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def environment_of_its_own(home: Path) -> Path:
    """The ``bin`` of a virtual environment that has what ours has, but for the checkout: no registry is asked."""
    venv.create(home, with_pip=True, symlinks=True)
    # Their own folder, as plain path: a .pth beside them (the editable checkout) is not followed from there.
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed, with its dependencies."""
    programs = environment_of_its_own(tmp_path_factory.mktemp("installed"))
    run(programs / "python", "-m", "pip", "--quiet", "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    return programs


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A project whose own folders bear the names of ours."""
    for name in ("server", "tools", "resources"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('{name} of the project was imported')\n")
    (tmp_path / "errors.py").write_text("raise RuntimeError('errors of the project was imported')\n")
    (tmp_path / "schema.sql").write_text("this is no SQL")
    return tmp_path


def test_the_wheel_holds_every_file_of_the_package_and_the_schema(wheel: Path) -> None:
    ours = {
        f"crewyard/{path.relative_to(ROOT)}"
        for name in ("server", "tools", "resources")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    packed = {name for name in names_in(wheel) if name.startswith("crewyard/")}
    assert packed == ours | {"crewyard/__init__.py", "crewyard/schema.sql"}


def test_the_sdist_gives_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    run("tar", "-xzf", sdist, "-C", tmp_path)
    [unpacked] = tmp_path.iterdir()
    again = build("wheel", unpacked, tmp_path / "again")

    assert names_in(again) == names_in(wheel)


def test_an_installed_wheel_works_in_a_project_with_folders_of_the_same_names(installed: Path, hostile: Path) -> None:
    answer = run(installed / "python", "-c", OPENS_A_DATABASE, cwd=hostile)

    count, origin = answer.split()
    assert count == "0"
    assert Path(origin).is_relative_to(installed.parent)


@pytest.mark.parametrize("program", ["crewyard", "team-daemon"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_an_installed_program_answers_in_such_a_project(
    installed: Path, hostile: Path, program: str, option: str
) -> None:
    assert run(installed / program, option, cwd=hostile)


@pytest.mark.parametrize("what", ["sdist", "checkout"])
def test_pip_installs_the_sdist_and_the_checkout_itself(
    what: str, sdist: Path, hostile: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As `pip install .` does, and what pipx and uv have done for them, but for fetching what is needed."""
    programs = environment_of_its_own(tmp_path_factory.mktemp(what))
    install = ("--quiet", "install", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed")
    run(programs / "python", "-m", "pip", *install, sdist if what == "sdist" else ROOT)

    assert run(programs / "crewyard", "--version", cwd=hostile).startswith("crewyard ")
    origin = run(programs / "python", "-c", OPENS_A_DATABASE, cwd=hostile).split()[1]
    assert Path(origin).is_relative_to(programs.parent)


def test_a_copy_of_the_checkout_without_git_can_be_built(tmp_path: Path) -> None:
    """As from a downloaded archive: hatchling then has no .gitignore of a repository to go by."""
    copy = tmp_path / "copy"
    shutil.copytree(
        ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "data")
    )

    assert build("wheel", copy, tmp_path / "dist").suffix == ".whl"
