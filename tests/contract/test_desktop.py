"""E2B's desktop client against the template that comes with Sandlot. `make test-desktop` builds its image first."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2b import CommandExitException, NotFoundException
from e2b_desktop import Sandbox
from PIL import Image

from support.live import LiveServer, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

TYPED = "Typed into an editor, 100% & more"


@pytest.fixture(scope="module")
def desktop(server: LiveServer) -> Iterator[Sandbox]:
    try:
        desktop = Sandbox.create(timeout=300, **server.options)
    except NotFoundException as error:
        pytest.skip(f"{error} (`make test-desktop` does)")
    yield desktop
    desktop.kill()


def look(desktop: Sandbox) -> Image.Image:
    return Image.open(io.BytesIO(desktop.screenshot())).convert("RGB")


def count_colours(image: Image.Image) -> int:
    return len(image.getcolors(maxcolors=1 << 24) or ())


def has_focus(desktop: Sandbox, title: str) -> bool:
    try:
        return title in desktop.get_window_title(desktop.get_current_window_id())
    except CommandExitException:
        return False


def test_an_application_is_launched_shown_and_typed_into(desktop: Sandbox) -> None:
    assert desktop.get_screen_size() == (1024, 768)
    area = (200, 100, 800, 600)
    before = look(desktop).crop(area)
    desktop.launch("mousepad")
    wait_until(lambda: has_focus(desktop, "Untitled 1 - Mousepad"), "the editor has the focus")
    assert look(desktop).crop(area).tobytes() != before.tobytes()
    desktop.write(TYPED)
    desktop.press(["ctrl", "a"])
    desktop.press(["ctrl", "c"])
    assert desktop.commands.run("xclip -o -selection clipboard").stdout.strip() == TYPED


def test_a_click_opens_the_menu(desktop: Sandbox) -> None:
    desktop.move_mouse(60, 12)
    assert desktop.get_cursor_position() == (60, 12)
    area = (0, 30, 150, 300)
    before = look(desktop).crop(area)
    desktop.left_click()
    wait_until(lambda: look(desktop).crop(area).tobytes() != before.tobytes(), "the menu shows")
    desktop.press("escape")


def test_a_file_is_opened_with_its_application(desktop: Sandbox) -> None:
    desktop.files.write("opened.txt", "with a name")
    desktop.open("/home/user/opened.txt")
    wait_until(lambda: has_focus(desktop, "opened.txt"), "the editor shows the file")


def test_a_person_looks_on_in_a_browser(
    desktop: Sandbox, server: LiveServer, js_dir: Path, chromium: str, tmp_path: Path
) -> None:
    desktop.stream.start(require_auth=True)
    url = desktop.stream.get_url(auth_key=desktop.stream.get_auth_key())
    shot, here = tmp_path / "novnc.png", url.replace(".e2b.app", f".e2b.localhost:{server.tls_port}")
    done = subprocess.run(
        ["node", "novnc.mjs", here, shot],
        cwd=js_dir,
        env={**os.environ, "CHROMIUM": chromium},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "connected\n", done.stderr
    assert count_colours(Image.open(shot).convert("RGB")) > 100
    desktop.stream.stop()
