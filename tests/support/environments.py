"""Fresh virtual environments with built distributions in them, and nothing of the checkout.

They get the locked packages of the environment that runs the tests by a .pth file: nothing is
downloaded.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, environ: dict[str, str] | None = None) -> str:
    """What the command prints; fails with all it said unless it ends well."""
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, target: str, out: Path) -> Path:
    """The `wheel` or `sdist` of a project."""
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, cwd=source)
    (built,) = out.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def make(folder: Path, *wheels: Path) -> Path:
    """The folder of a new environment that has the wheels."""
    environment = folder / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    python = environment / "bin" / "python"
    install(environment, *wheels)
    purelib = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=environment
    )
    (Path(purelib.strip()) / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def install(environment: Path, *wheels: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    options = ("--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, *options, *wheels, cwd=environment)
