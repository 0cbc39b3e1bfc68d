"""The installed service under a systemd that runs: the unit's sandbox, readiness, reload, watchdog, and what becomes of it when it is killed."""

import subprocess

import pytest

from conftest import need
from debian import CannotBoot

# Each step prints `NAME: what it found`. Waiting is for events, whatever they take.
SCRIPT = r"""
found() { printf '%s: %s\n' "$1" "$(echo $2)"; }
property() { systemctl show --property "$1" --value spillway; }
until_true() { tries=0; until eval "$1"; do tries=$((tries + 1)); [ $tries -lt 900 ] || { echo "never: $1"; return; }; sleep 0.2; done; }
config=/etc/spillway/spillway.toml

found 'unset' "$(systemctl is-active spillway) $(property Result)"

cat >>$config <<END
[[publish]]
name = "releases"
root = "/srv/releases"
settle = "1s"
END
mkdir -p /srv/releases
chown spillway:spillway /srv/releases
systemctl start spillway
found 'started' "$? $(systemctl is-active spillway)"
pid=$(property MainPID)
found 'sandbox' "$(grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd):' /proc/$pid/status)"
found 'user' "$(stat --format=%U /proc/$pid)"
found 'limits' "$(grep -E '^Max locked memory|^Max open files' /proc/$pid/limits)"
found 'homes' "$(nsenter --target $pid --mount ls -A /root /home 2>&1 | tail -1)"
until_true '[ -n "$(property StatusText)" ]'
found 'status' "$(property StatusText)"

head -c 3000000 /dev/urandom >/srv/releases/image.bin
until_true '[ -s /srv/releases/image.bin.torrent ]'
found 'published' "$(ls /srv/releases)"
until_true 'spillway ctl releases --json | grep -q published'

systemctl reload spillway
found 'reload' "$?"
cp $config /root/good
echo 'nonsense = 1' >>$config
systemctl reload spillway
found 'reload of nonsense' "$? $(systemctl is-active spillway) $([ "$(property MainPID)" = $pid ] && echo same)"
# What the journal is told is there a moment later.
said='nonsense: there is no such key'
until_true 'journalctl --unit spillway --output cat | grep -q "$said"'
found 'said of nonsense' "$(journalctl --unit spillway --output cat | grep -c "$said")"
cp /root/good $config

kill -KILL $pid
until_true '[ "$(property MainPID)" != "$pid" ] && [ "$(systemctl is-active spillway)" = active ]'
found 'killed' "$(property NRestarts) $(spillway ctl releases --json | grep -c '"image.bin"')"

mkdir -p /etc/systemd/system/spillway.service.d
printf '[Service]\nWatchdogSec=15s\nTimeoutAbortSec=1s\n' >/etc/systemd/system/spillway.service.d/test.conf
systemctl daemon-reload
systemctl restart spillway
kill -STOP "$(property MainPID)"
until_true 'journalctl --unit spillway | grep -q "Watchdog timeout"'
until_true '[ "$(systemctl is-active spillway)" = active ]'
found 'watchdog' "$(systemctl is-active spillway)"

systemctl stop spillway
found 'stopped' "$? $(systemctl is-active spillway) $(property Result)"
journalctl --unit spillway --no-pager
"""


@pytest.fixture(scope="module")
def found(fresh_debian, packages, tmp_path_factory):
    """`step -> what was found`, of one boot from the installation to the stop."""
    from debian import Debian

    need("systemd-nspawn")
    copy = tmp_path_factory.mktemp("booted") / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", fresh_debian, copy], check=True)
    debian = Debian(copy)
    debian.install(packages[1])
    debian.path("usr/sbin/policy-rc.d").unlink()
    try:
        printed = debian.boot(SCRIPT)
    except CannotBoot as error:
        pytest.skip(f"systemd-nspawn cannot boot a Debian here: {error}")
    finally:
        subprocess.run(["rm", "--recursive", "--force", "--one-file-system", copy], check=True)
    lines = (line.split(": ", 1) for line in printed.splitlines() if ": " in line)
    steps = dict(lines)
    print(printed)
    return steps


def test_nothing_starts_at_boot_as_long_as_nothing_is_set(found):
    assert found["unset"].split() == ["inactive", "exec-condition"]


def test_the_service_is_ready_within_its_sandbox(found):
    assert found["started"] == "0 active"
    assert found["user"] == "spillway"
    sandbox = found["sandbox"].split()
    assert sandbox[sandbox.index("Seccomp:") + 1] == "2"
    assert sandbox[sandbox.index("NoNewPrivs:") + 1] == "1"
    for capabilities in ("CapEff:", "CapBnd:"):
        assert int(sandbox[sandbox.index(capabilities) + 1], 16) == 0
    assert "torrents" in found["status"]


def test_a_release_is_published_from_within_the_sandbox(found):
    assert set(found["published"].split()) >= {"image.bin", "image.bin.torrent"}


def test_a_reload_applies_and_one_of_nonsense_fails_without_harm(found):
    assert found["reload"] == "0"
    code, active, same = found["reload of nonsense"].split()
    assert (code != "0", active, same) == (True, "active", "same")
    assert int(found["said of nonsense"]) > 0


def test_a_service_that_is_killed_or_hangs_comes_back_with_what_it_had(found):
    restarts, releases = found["killed"].split()
    assert int(restarts) > 0 and int(releases) > 0
    assert found["watchdog"] == "active"


def test_a_stop_is_clean(found):
    assert found["stopped"].split() == ["0", "inactive", "success"]
