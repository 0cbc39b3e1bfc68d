"""What the comparison needs: Debian packages, a Python environment, rqbit, and our own programs as they are shipped."""

import os
import pathlib
import shutil
import subprocess
import sys
from types import SimpleNamespace

ROOT = pathlib.Path(__file__).resolve().parents[3]
RIVALS = ROOT / "target" / "rivals"
# The program that shows that a package is there, and the Debian package.
PACKAGES = {
    "rtorrent": "rtorrent",
    "aria2c": "aria2",
    "transmission-daemon": "transmission-daemon",
    "iperf3": "iperf3",
    "ip": "iproute2",
}
WHEELS = ["libtorrent==2.1.1", "matplotlib==3.11.2"]
RQBIT_VERSION = "9.1.0"


def programs(wanted, build=True):
    """Installs the packages, and rqbit and the floor if `wanted` names them; gives where the programs are, None for what
    cannot be had."""
    _packages()
    python = _python()
    rqbit = _rqbit() if "rqbit" in wanted else None
    release = ours(build, floor="floor" in wanted)
    return SimpleNamespace(
        spillway=release / "spillway",
        swarmload=release / "swarmload",
        send_paths=release / "examples" / "send_paths",
        python=python,
        rqbit=rqbit,
    )


def ours(build=True, floor=False):
    """The folder of our programs, built as they are shipped: each alone, since programs that are built together share
    the features of their dependencies."""
    wanted = [
        ("spillway",),
        ("spillway-swarmload",),
        *([("spillway-shard", "--example", "send_paths")] if floor else []),
    ]
    for package in wanted if build else ():
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", *package], cwd=ROOT, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def _packages():
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.exit("error: missing: " + " ".join(missing) + " (apt-get install them, or run this as root once)")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True, env=environment)


def _python():
    """The interpreter of an environment with the wheels."""
    python = RIVALS / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", RIVALS / "venv"], check=True)
    if subprocess.run([python, "-c", "import libtorrent, matplotlib"], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "-q", *WHEELS], check=True)
    return python


def _rqbit():
    program = RIVALS / "bin" / "rqbit"
    if not program.exists():
        subprocess.run(
            [
                "cargo",
                "install",
                "rqbit",
                "--version",
                RQBIT_VERSION,
                "--locked",
                "--no-default-features",
                "--features",
                "rust-tls",
                "--root",
                RIVALS,
            ],
            check=True,
        )
    return program
