"""A Debian in a folder: made by debootstrap, driven by chroot, or booted with a systemd of its own by systemd-nspawn. No service of
this machine hears of it."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path

MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "bookworm"

# A busy machine takes long; nothing here waits for less than an event.
PATIENCE_SECONDS = 120

# What dpkg and adduser keep for themselves, the copies of the user database, and caches.
NOT_OURS = (
    "proc", "sys", "dev", "tmp", "var/lib/dpkg", "var/log", "var/cache", "etc/passwd-", "etc/group-", "etc/shadow-",
    "etc/gshadow-", "etc/subuid-", "etc/subgid-", "run/adduser", "run/lock",
)


def make_debian(folder):
    """The packages that every Debian has, and systemd, which most have."""
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", SUITE, folder, MIRROR],
        check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def build_package(root, binary, folder, revision):
    """By the one command; a later revision gets a sample that is worded in another way."""
    command = [root / "deploy/deb/build", "--binary", binary, "--output", folder, "--revision", str(revision)]
    built = subprocess.run(command, check=True, text=True, capture_output=True)
    package = Path(built.stdout.strip())
    if revision > 1:
        tree = folder / f"tree-{revision}"
        subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
        with open(tree / "etc/spillway/spillway.toml", "a", encoding="utf-8") as sample:
            sample.write(f"\n# Said since revision {revision}.\n")
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, package], check=True, capture_output=True)
        shutil.rmtree(tree)
    return package


# The script's end ends all.
SCRIPT_UNIT = """
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh /root/script
# Appended to: what powers off writes there as well.
StandardOutput=append:/root/printed
StandardError=inherit
ExecStopPost=/bin/systemctl poweroff --force --force
"""

BOOT_SECONDS = 1800


class CannotBoot(Exception):
    """systemd-nspawn may not do here what it would have to."""


class Debian:
    """A chroot."""

    def __init__(self, root):
        self.root = root
        self.allow_services(False)

    def path(self, name):
        return self.root / name.lstrip("/")

    def run(self, *command, check=True):
        """Runs a command in it."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["chroot", self.root, *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stdout}"
        return done

    def install(self, package, *options):
        shutil.copy(package, self.path("tmp"))
        return self.run("dpkg", *options, "--install", f"/tmp/{package.name}")

    def allow_services(self, allowed):
        """What policy-rc.d says of starting services: 101 is no."""
        policy = self.path("usr/sbin/policy-rc.d")
        policy.write_text(f"#!/bin/sh\nexit {0 if allowed else 101}\n", encoding="utf-8")
        policy.chmod(0o755)

    def pretend_systemd(self):
        """As if systemd ran: a systemctl that writes down what it is asked, and says yes, or that a unit is enabled."""
        self.path("run/systemd/system").mkdir(parents=True)
        program = self.path("usr/bin/systemctl")
        program.write_text('#!/bin/sh\necho "$*" >>/tmp/systemctl.log\necho enabled\n', encoding="utf-8")
        program.chmod(0o755)

    def asked_of_systemd(self):
        """What was asked since the last time, without questions and reloads."""
        log = self.path("tmp/systemctl.log")
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.write_text("", encoding="utf-8")
        actions = (line.replace("--system ", "").replace("--quiet ", "") for line in lines)
        return [line for line in actions if line.split()[0] in ("start", "stop", "restart", "try-restart")]

    def boot(self, script):
        """Boots it with its systemd, in a network of its own, and runs a shell script as root once it is up; returns what that printed. It is
        shut down after the script."""
        self.path("root/script").write_text(script, encoding="utf-8")
        self.path("etc/systemd/system/script.service").write_text(SCRIPT_UNIT, encoding="utf-8")
        self.path("etc/machine-id").write_text("uninitialized\n", encoding="utf-8")
        # Whoever wants it asks for it alone, so that what else is wanted at a boot is there first.
        wants = self.path("etc/systemd/system/default.target.wants")
        wants.mkdir(exist_ok=True)
        (wants / "script.service").symlink_to("/etc/systemd/system/script.service")
        command = [
            "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no", "--keep-unit", "--private-network",
            "--console=pipe", f"--machine=spillway-{os.getpid()}",
        ]  # fmt: skip
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=BOOT_SECONDS,
        )  # fmt: skip
        printed = self.path("root/printed")
        if not printed.exists():
            raise CannotBoot(" ".join(done.stdout.strip().splitlines()[-3:]))
        return printed.read_text(encoding="utf-8", errors="replace")

    def files(self):
        """Every path in it, but for what is not the package's to clean up."""
        found = set()
        for folder, folders, names in os.walk(self.root):
            inside = os.path.relpath(folder, self.root)
            folders[:] = [name for name in folders if os.path.normpath(os.path.join(inside, name)) not in NOT_OURS]
            found.update(os.path.normpath(os.path.join(inside, name)) for name in folders + names)
        return found - set(NOT_OURS)

    @contextlib.contextmanager
    def service(self):
        """The installed service as its unit starts it: its user, its directories, its limits, and a socket that it tells how it is. In a
        network of its own, so that its ports are free."""
        ids = [int(self.run("id", flag, "spillway").stdout) for flag in ("-u", "-g")]
        for name in ("var/lib/spillway", "run/spillway"):
            self.path(name).mkdir(mode=0o750, exist_ok=True)
            os.chown(self.path(name), *ids)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A socket's path is short; the chroot's may not be.
        folder = os.open(self.path("run"), os.O_PATH)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("run/notify"))
        notify.bind(f"/proc/self/fd/{folder}/notify")
        os.close(folder)
        self.path("run/notify").chmod(0o666)
        enter = 'ip link set lo up && mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && exec "$@"'
        command = [
            "unshare", "--net", "--mount", "sh", "-c", enter, self.root,
            "chroot", "--userspec=spillway:spillway", self.root,
            "/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "NOTIFY_SOCKET=/run/notify",
            "STATE_DIRECTORY=/var/lib/spillway", "RUNTIME_DIRECTORY=/run/spillway",
            "/usr/bin/spillway", "serve", "--config", "/etc/spillway/spillway.toml",
        ]  # fmt: skip
        log = self.path("tmp/service.log")
        with open(log, "wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=limits_of_the_unit)
        try:
            yield Service(process, notify, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            notify.close()


def limits_of_the_unit():
    """`LimitMEMLOCK=infinity` and `LimitNOFILE=`, as far as this machine allows them."""
    for limit in (resource.RLIMIT_MEMLOCK, resource.RLIMIT_NOFILE):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (hard, hard))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class Service:
    """A service that runs, and what it told."""

    def __init__(self, process, notify, log):
        self.process, self.notify, self.log = process, notify, log
        self.told = []

    def wait_until_told(self, word):
        """Waits for a line such as READY=1."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while word not in self.told:
            assert self.process.poll() is None, f"it ended: {self.said()}"
            assert time.monotonic() < deadline, f"never told {word}, but {self.told}: {self.said()}"
            self.notify.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                self.told += self.notify.recv(65536).decode().splitlines()

    def stop(self):
        """As systemd stops it; returns the exit code and all that it told."""
        self.process.terminate()
        code = self.process.wait(PATIENCE_SECONDS)
        self.notify.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.told += self.notify.recv(65536).decode().splitlines()
        return code, self.told

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")
