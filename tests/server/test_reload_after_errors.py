"""What `serve --reload` does, and says, when a start cannot use a spare process, and while nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .processes import Serve, amend, eventually
from .test_reload import comes
from .test_reload_spare import spare_waits

Start = Callable[..., Serve]


def test_start_from_scratch_is_told(serve: Start, project: Path) -> None:
    amend(project / "site_settings.py", "ROOT_URLCONF", "LANGUAGE_CODE = '!'\nROOT_URLCONF")
    server = serve("--reload")
    server.says("it starts again at the next save")  # What never ran has told nothing to import early.
    amend(project / "site_settings.py", "LANGUAGE_CODE = '!'\n", "")
    server.says("site_settings.py changed, starting again, from scratch: no spare process is ready yet\n")
    server.wait_until_it_serves()


def test_spare_process_is_made_while_an_error_is_mended(serve: Start, project: Path) -> None:
    server = serve("--reload")
    port = server.wait_until_it_serves()
    eventually(lambda: spare_waits(server), "a spare process is there, so that the server has told what it imports")
    amend(project / "site_urls.py", "HELD = []", "HELD = [")
    server.says("it starts again at the next save")
    eventually(lambda: spare_waits(server), lambda: f"another is there: {server.text}")
    amend(project / "site_urls.py", "HELD = [", "HELD = []")
    comes(port, "VERSION", server)
