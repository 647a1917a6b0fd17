"""Builds the wheel and uses it as a stranger would: `python -m tests._run.wheel`.

In a new virtual environment, outside the checkout: everything that the package folder holds is in the wheel, the
package imports, a project made by startproject passes its checks with the app installed, and the README has no link
that leads nowhere on a package index.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "django_wsgiperf"


class WheelIsWrong(Exception):
    """What is wrong with the wheel."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wsgiperf-wheel-") as name:
        folder = Path(name)
        try:
            wheel = build(folder)
            compare(wheel)
            use(wheel, folder)
        except (WheelIsWrong, subprocess.CalledProcessError) as error:
            print(f"{error}")
            return 1
    print(f"{wheel.name}: complete, imports, and a new project with it passes its checks")
    return 0


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    call([sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder / "wheel", ROOT], folder)
    wheels = list((folder / "wheel").glob("*.whl"))
    if len(wheels) != 1:
        raise WheelIsWrong(f"one wheel was to be built, there are {len(wheels)}")
    return wheels[0]


def expected(package: Path) -> set[str]:
    """What has to be in the wheel: every file of the package folder that is not compiled or hidden."""
    return {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix not in {".pyc", ".pyo"}
        and not path.name.startswith(".")
    }


def compare(wheel: Path, package: Path = ROOT / PACKAGE) -> None:
    """Raises WheelIsWrong when the wheel has less or more than the package folder and its own records."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        metadata = next((archive.read(name).decode() for name in inside if name.endswith(".dist-info/METADATA")), "")
    records = {name for name in inside if ".dist-info/" in name}
    missing = sorted(expected(package) - inside)
    surplus = sorted(inside - records - expected(package))
    problems = [f"not in the wheel: {name}" for name in missing]
    problems += [f"in the wheel, but not of the package: {name}" for name in surplus]
    if f"{package.name}/py.typed" not in inside:
        problems.append(f"no {package.name}/py.typed, so its types are not seen")
    if not any(name.endswith("LICENSE") for name in records):
        problems.append("no licence")
    if "## Documentation" not in metadata:
        problems.append("no README")
    problems += [f"leads nowhere on a package index: {link}" for link in re.findall(r"\]\((?!https?:).*?\)", metadata)]
    if problems:
        raise WheelIsWrong("\n".join(problems))


def use(wheel: Path, folder: Path) -> None:
    """Install it into a new environment and start a project with it."""
    call([sys.executable, "-m", "venv", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    call([python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", wheel], folder)
    where = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    said = subprocess.run([python, "-I", "-c", where], cwd=folder, check=True, capture_output=True, text=True)
    if not Path(said.stdout.strip()).is_relative_to(folder.resolve()):
        raise WheelIsWrong(f"{PACKAGE} was imported from {said.stdout.strip()}, not from the wheel")
    call([python, "-m", "django", "startproject", "site_of_a_stranger", folder], folder)
    settings = folder / "site_of_a_stranger" / "settings.py"
    with settings.open("a", encoding="utf-8") as file:
        file.write(f'\nINSTALLED_APPS += ["{PACKAGE}"]\n')
    call([python, "-W", "error", "manage.py", "check", "--fail-level", "WARNING"], folder)
    for command in sorted((ROOT / PACKAGE).glob("management/commands/[a-z]*.py")):
        call([python, "manage.py", command.stem, "--help"], folder)


def call(command: Sequence[str | Path], folder: Path) -> None:
    """Run a command, its output with ours."""
    print(f"$ {' '.join(map(str, command))}", flush=True)
    subprocess.run([str(word) for word in command], cwd=folder, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
