"""The private folder: made for one user alone, refused when it is not, and no meeting of two projects."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.test import override_settings

from django_wsgiperf import control
from django_wsgiperf.control import folder
from django_wsgiperf.instance import instance


def test_folder_is_made_for_its_user_alone(base: Path) -> None:
    made = Path(folder.folder())
    assert made == base / f"wsgiperf-{os.geteuid()}"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert folder.folder() == str(made), "and found again"


def test_without_a_setting_it_is_in_the_folder_for_temporary_files(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(base))
    with override_settings(WSGIPERF={}):
        assert folder.folder() == str(base / f"wsgiperf-{os.geteuid()}")


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o777])
def test_folder_that_is_open_to_others_is_refused(base: Path, mode: int) -> None:
    path = base / f"wsgiperf-{os.geteuid()}"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(folder.Unavailable, match=f"open to others .mode {mode:o}.: chmod 700"):
        folder.folder()


def test_symbolic_link_is_refused_wherever_it_leads(base: Path) -> None:
    (base / "elsewhere").mkdir(mode=0o700)
    (base / f"wsgiperf-{os.geteuid()}").symlink_to(base / "elsewhere")
    with pytest.raises(folder.Unavailable, match="a symbolic link"):
        folder.folder()
    (base / f"wsgiperf-{os.geteuid()}").unlink()
    (base / f"wsgiperf-{os.geteuid()}").symlink_to(base / "nowhere")
    with pytest.raises(folder.Unavailable, match="a symbolic link"):
        folder.folder()


def test_file_in_its_place_is_refused(base: Path) -> None:
    (base / f"wsgiperf-{os.geteuid()}").touch(mode=0o600)
    with pytest.raises(folder.Unavailable, match="something else"):
        folder.folder()


def test_folder_of_another_user_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.geteuid()
    monkeypatch.setattr(folder.os, "geteuid", lambda: user + 1)
    (base / f"wsgiperf-{user + 1}").mkdir(mode=0o700)
    with pytest.raises(folder.Unavailable, match=f"belongs to user {user}, not to user {user + 1}"):
        folder.folder()


def test_path_that_no_socket_can_have_is_refused(base: Path) -> None:
    deep = base / ("d" * 90)
    deep.mkdir()
    with override_settings(WSGIPERF={"SERVER": {"CONTROL_DIR": str(deep)}}):
        with pytest.raises(folder.Unavailable, match="too long for a Unix socket: set CONTROL_DIR"):
            folder.own_path()
        assert control.start() is False


def test_why_there_is_no_channel_is_logged_once(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    (base / f"wsgiperf-{os.geteuid()}").touch()
    assert control.start() is False
    assert control.start() is False
    assert control.ask("echo") == []
    assert [record.message for record in caplog.records] == [
        f"The project's processes on this host cannot reach each other: {base}/wsgiperf-{os.geteuid()} is no folder, "
        "but something else"
    ]


class TestProject:
    def test_is_the_same_for_the_same(self, base: Path) -> None:
        assert folder.project() == folder.project()
        assert len(folder.project()) == 12

    def test_differs_by_the_secret_key_and_does_not_show_it(self, base: Path) -> None:
        keys = ["a" * 40, "b" * 40]
        found = set()
        for key in keys:
            with override_settings(SECRET_KEY=key):
                found.add(folder.project())
        assert len(found) == 2

    def test_differs_by_the_settings_module_and_by_its_file(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = set()
        for module in ("shop.settings", "blog.settings"):
            for place in ("a", "b"):
                monkeypatch.setitem(
                    folder.sys.modules,
                    module,
                    SimpleNamespace(__file__=str(tmp_path / place)),  # type: ignore[arg-type]
                )
                monkeypatch.setattr(folder, "django_settings", SimpleNamespace(configured=True, SETTINGS_MODULE=module))
                found.add(folder.project())
        assert len(found) == 4

    def test_links_to_the_same_file_are_the_same_project(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "release").mkdir()
        (tmp_path / "current").symlink_to(tmp_path / "release")
        monkeypatch.setattr(
            folder, "django_settings", SimpleNamespace(configured=True, SETTINGS_MODULE="shop.settings")
        )
        found = set()
        for place in ("release", "current"):
            file = str(tmp_path / place / "settings.py")
            monkeypatch.setitem(folder.sys.modules, "shop.settings", SimpleNamespace(__file__=file))  # type: ignore[arg-type]
            found.add(folder.project())
        assert len(found) == 1


def test_only_the_projects_sockets_are_found(private: Path) -> None:
    assert control.start()
    name = Path(folder.own_path()).name
    (private / "notes.txt").touch()
    (private / f"{folder.project()}-77-0123abcd").touch()  # No socket.
    (private / f".{name}x").touch()
    (private / "unrelated").symlink_to(private / name)
    with override_settings(SECRET_KEY="another" * 8):
        assert list(folder.peers()) == []
    assert [peer.instance for peer in folder.peers()] == [instance()]
