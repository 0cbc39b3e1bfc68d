"""The unit and the files beside it: hardened, and not so much that the program cannot work."""

import re
import subprocess
import sys
from pathlib import Path

from conftest import BINARY, need

# What `systemd-analyze security` may say, times ten; 0 is locked up, 100 is root with everything.
MOST_EXPOSURE = 25


def unit(deploy):
    return deploy / "systemd/spillway.service"


def test_the_unit_is_exposed_to_little(deploy):
    need("systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", unit(deploy)]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_understands_every_line_of_the_unit(deploy, tmp_path):
    need("systemd-analyze")
    # As it is, but with a program that is there, since it is not installed here.
    copy = tmp_path / "spillway.service"
    text = unit(deploy).read_text(encoding="utf-8").replace("/usr/bin/spillway", str(BINARY))
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], text=True, capture_output=True)
    # A systemd that is older than cachestat passes over its name, as the unit says.
    told = [line for line in done.stderr.splitlines() if "cachestat" not in line and "spillway.service" in line]
    assert told == []


def allowed_calls(deploy):
    """The unit's filter, by name: what it allows less what it takes away, in the order of its lines."""
    groups = {}
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], text=True, capture_output=True, check=True).stdout
    for block in re.split(r"\n(?=@)", listed):
        name, *lines = block.strip().splitlines()
        groups[name.strip()] = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]

    def expand(name):
        if not name.startswith("@"):
            return {name}
        return set().union(*(expand(member) for member in groups[name]))

    allowed = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", unit(deploy).read_text(encoding="utf-8"), re.M):
        names = set().union(*(expand(name) for name in value.lstrip("~").split()))
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed | expand("@default")


def test_every_system_call_of_the_service_passes_the_units_filter(deploy, tmp_path):
    """Publishing, adding, serving, answers over the socket, a reload, a stop: whatever calls that takes."""
    need("strace", "systemd-analyze")
    trace = tmp_path / "trace"
    subprocess.run([sys.executable, Path(__file__).parent / "traced.py", BINARY, tmp_path, trace], check=True)
    calls = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)", trace.read_text(errors="replace"), re.M))
    # What a strace knows by number only, since it is older than the call.
    calls = {"cachestat" if call == "syscall_0x1c3" else call for call in calls}
    assert {"io_uring_setup", "epoll_pwait", "sendmsg"} & calls, f"the trace shows the engine at work: {sorted(calls)}"
    # execve is systemd's own, before the filter; the trace begins with it.
    assert calls - allowed_calls(deploy) - {"execve"} == set()


def test_every_kernel_setting_and_limit_has_its_reason_above_it(deploy):
    for name in ("sysctl.d/60-spillway.conf", "limits.d/60-spillway.conf"):
        explained = False
        for line in (deploy / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                assert explained, f"{name}: {line}"
            # A reason holds until the next empty line: two settings may share one.
            explained = bool(line)


def test_every_kernel_setting_is_one_that_kernels_have(deploy):
    text = (deploy / "sysctl.d/60-spillway.conf").read_text(encoding="utf-8")
    keys = re.findall(r"^([a-z0-9_.]+) = \S+", text, re.M)
    assert len(keys) > 10
    # What this kernel was built without is unknown here, and no slip.
    missing = [key for key in keys if not Path("/proc/sys", key.replace(".", "/")).exists()]
    assert len(missing) <= 3, missing


def test_the_container_file_passes_the_linter(deploy):
    linter = Path(sys.executable).parent / "hadolint"
    need(str(linter))
    done = subprocess.run([linter, "--no-color", deploy / "container/Containerfile"], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
