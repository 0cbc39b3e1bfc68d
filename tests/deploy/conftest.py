"""What is deployed: the program as it was built, the package made of it, and a Debian to install it in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from debian import Debian, build_package, make_debian

ROOT = Path(__file__).parents[2]
BINARY = Path(os.environ.get("SPILLWAY_BIN") or ROOT / "target/release/spillway")


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} does not exist; build it with `cargo build --release`, or set SPILLWAY_BIN", returncode=2)


def need(*programs):
    """Skips a test where a program is missing, and says which."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: apt-get install debootstrap dpkg-dev strace systemd)")


@pytest.fixture(scope="session")
def deploy():
    """The folder with all that is deployed."""
    return ROOT / "deploy"


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """`revision -> package`; the second has another sample of the settings than the first."""
    need("dpkg-deb", "dpkg-shlibdeps", "strip")
    folder = tmp_path_factory.mktemp("packages")
    return {revision: build_package(ROOT, BINARY, folder, revision) for revision in (1, 2)}


@pytest.fixture(scope="session")
def fresh_debian(tmp_path_factory):
    """A Debian as debootstrap leaves it."""
    need("debootstrap", "chroot", "unshare")
    if os.geteuid() != 0:
        pytest.skip("debootstrap and chroot need root")
    folder = tmp_path_factory.mktemp("debian") / "root"
    try:
        make_debian(folder)
    except subprocess.CalledProcessError as error:
        last = (error.stdout or "").strip().splitlines()[-1:]
        pytest.skip(f"debootstrap could not make a Debian here (no mirror in reach?): {' '.join(last)}")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def debian(fresh_debian, tmp_path):
    """A copy for one test."""
    copy = tmp_path / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", fresh_debian, copy], check=True)
    yield Debian(copy)
    shutil.rmtree(copy, ignore_errors=True)
