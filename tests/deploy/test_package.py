"""The Debian package: installed, upgraded, removed and purged, with and without a systemd that runs."""

import re
import stat
import subprocess

import pytest

CONFIG = "etc/spillway/spillway.toml"
KEY = 'rest_after = "5m"'
WANTED = "etc/systemd/system/multi-user.target.wants/spillway.service"


def set_something(debian):
    """An operator's edit."""
    config = debian.path(CONFIG)
    sample = config.read_text(encoding="utf-8")
    assert '#rest_after = "10m"' in sample
    config.write_text(sample.replace('#rest_after = "10m"', KEY), encoding="utf-8")


def test_what_is_installed_is_all_there_and_nothing_is_open(debian, packages):
    debian.install(packages[1])
    assert debian.run("spillway", "config", "check").stdout.endswith("no problems\n")
    assert debian.run("dpkg", "--verify", "spillway").stdout == ""
    assert re.match(r"uid=\d+\(spillway\) gid=\d+\(spillway\)", debian.run("id", "spillway").stdout)
    assert stat.S_IMODE(debian.path("etc/spillway").stat().st_mode) == 0o750
    for name in (
        "usr/share/man/man1/spillway.1.gz", "usr/share/man/man1/spillway-doctor.1.gz",
        "usr/share/bash-completion/completions/spillway", "usr/share/zsh/vendor-completions/_spillway",
        "usr/share/fish/vendor_completions.d/spillway.fish", "usr/share/doc/spillway/copyright",
        "usr/share/doc/spillway/changelog.Debian.gz", "usr/share/spillway/sysctl.d/60-spillway.conf",
    ):  # fmt: skip
        assert debian.path(name).is_file(), name
    # The machine's own settings are not touched.
    assert not list(debian.path("etc/sysctl.d").glob("*spillway*"))
    assert not list(debian.path("etc/security/limits.d").glob("*spillway*"))


def test_the_service_is_enabled_and_starts_only_once_something_is_set(debian, packages):
    debian.install(packages[1])
    assert debian.path(WANTED).is_symlink()
    unit = debian.path("lib/systemd/system/spillway.service").read_text(encoding="utf-8")
    pattern = re.search(r'^ExecCondition=/bin/grep -qE "(.*)" /etc/spillway/spillway.toml$', unit, re.M).group(1)

    def would_start():
        return debian.run("/bin/grep", "-qE", pattern, f"/{CONFIG}", check=False).returncode == 0

    assert not would_start()
    set_something(debian)
    assert would_start()


def test_the_installed_service_starts_answers_and_stops(debian, packages):
    debian.install(packages[1])
    set_something(debian)
    with debian.service() as service:
        service.wait_until_told("READY=1")
        answer = debian.run("spillway", "ctl", "stats", "--json")
        assert "uptime_s" in answer.stdout
        code, told = service.stop()
        assert code == 0, service.said()
        assert "STOPPING=1" in told
    # It comes back to what it kept.
    with debian.service() as service:
        service.wait_until_told("READY=1")
        assert service.stop()[0] == 0, service.said()


def test_an_upgrade_keeps_edited_settings_and_renews_others(debian, packages):
    debian.install(packages[1])
    debian.install(packages[2])
    assert "Said since revision 2" in debian.path(CONFIG).read_text(encoding="utf-8")

    debian.run("dpkg", "--purge", "spillway")
    debian.install(packages[1])
    set_something(debian)
    debian.install(packages[2], "--force-confdef", "--force-confold")
    kept = debian.path(CONFIG).read_text(encoding="utf-8")
    assert KEY in kept and "Said since revision 2" not in kept
    assert "Said since revision 2" in debian.path(CONFIG + ".dpkg-dist").read_text(encoding="utf-8")


def test_what_an_administrator_disabled_stays_so_over_an_upgrade(debian, packages):
    debian.install(packages[1])
    debian.path(WANTED).unlink()
    debian.install(packages[2])
    assert not debian.path(WANTED).exists() and not debian.path(WANTED).is_symlink()


def test_systemd_is_asked_for_no_more_than_is_needed(debian, packages):
    debian.pretend_systemd()
    debian.allow_services(True)
    debian.install(packages[1])
    assert debian.asked_of_systemd() == ["start spillway.service"]
    debian.install(packages[2])
    # The old one serves until the new one is there.
    assert debian.asked_of_systemd() == ["restart spillway.service"]
    debian.run("dpkg", "--remove", "spillway")
    assert debian.asked_of_systemd() == ["stop spillway.service"]


def test_a_policy_against_services_is_kept(debian, packages):
    debian.pretend_systemd()
    debian.allow_services(False)
    debian.install(packages[1])
    debian.install(packages[2])
    debian.run("dpkg", "--purge", "spillway")
    assert debian.asked_of_systemd() == []


def test_removal_keeps_settings_and_state_and_purge_leaves_nothing_but_the_user(debian, packages):
    before = debian.files()
    debian.install(packages[1])
    set_something(debian)
    state = debian.path("var/lib/spillway")
    state.mkdir()
    (state / "catalogue").write_text("something", encoding="utf-8")

    debian.run("dpkg", "--remove", "spillway")
    assert not debian.path("usr/bin/spillway").exists()
    assert debian.path(CONFIG).exists() and (state / "catalogue").exists()

    debian.run("dpkg", "--purge", "spillway")
    assert debian.files() - before == set()
    # Files in trees belong to it; another user must not get its number.
    assert debian.run("id", "spillway", check=False).returncode == 0


def test_purge_leaves_an_administrators_own_files(debian, packages):
    debian.install(packages[1])
    key = debian.path("etc/spillway/tls.key")
    key.write_text("a key", encoding="utf-8")
    debian.run("dpkg", "--purge", "spillway")
    assert key.exists() and not debian.path(CONFIG).exists()


def test_a_second_install_after_removal_goes_on_with_the_old_settings(debian, packages):
    debian.install(packages[1])
    set_something(debian)
    debian.run("dpkg", "--remove", "spillway")
    debian.install(packages[1])
    assert KEY in debian.path(CONFIG).read_text(encoding="utf-8")
    assert debian.path(WANTED).is_symlink()


@pytest.mark.parametrize(("shell", "name"), [
    ("bash", "bash-completion/completions/spillway"),
    ("zsh", "zsh/vendor-completions/_spillway"),
    ("fish", "fish/vendor_completions.d/spillway.fish"),
])  # fmt: skip
def test_completions_are_what_their_shell_can_read(packages, tmp_path, shell, name):
    from conftest import need

    need(shell)
    subprocess.run(["dpkg-deb", "--extract", packages[1], tmp_path], check=True)
    subprocess.run([shell, "-n", tmp_path / "usr/share" / name], check=True)


def test_the_same_commit_and_binary_give_the_same_package(packages, tmp_path):
    from conftest import BINARY, ROOT
    from debian import build_package

    again = build_package(ROOT, BINARY, tmp_path, 1)
    assert again.read_bytes() == packages[1].read_bytes()
