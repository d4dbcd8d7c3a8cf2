"""The `sandlot` command as a person uses it, against a real server; the shell inside a real terminal."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2b import Sandbox

from support.live import SANDLOT, LiveServer, wait_until
from support.terminal import Terminal, open_terminal

pytestmark = [pytest.mark.docker, pytest.mark.timeout(200)]

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(server: LiveServer) -> Command:
    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        # COLUMNS is what a narrow terminal would say; a pipe has to be left whole all the same.
        environment = {**server.environment, "COLUMNS": "60"}
        return subprocess.run(
            [SANDLOT, *words], env=environment, input=stdin, capture_output=True, text=True, timeout=90
        )

    return run


def test_a_life_from_create_to_kill(command: Command) -> None:
    mark = uuid.uuid4().hex
    sandbox_id = command("create", "--metadata", f"mark={mark}", "--env", "COLOUR=blue").stdout.strip()
    listed = json.loads(command("ps", "--metadata", f"mark={mark}", "--json").stdout)
    assert [(one["sandbox_id"], one["state"]) for one in listed] == [(sandbox_id, "running")]
    assert sandbox_id in command("ps").stdout
    assert command("pause", sandbox_id).returncode == 0
    assert sandbox_id not in command("ps").stdout
    assert "paused" in command("ps", "--all").stdout
    assert command("resume", sandbox_id).returncode == 0
    assert command("exec", sandbox_id, "echo $COLOUR").stdout == "blue\n"
    assert "created from base" in command("logs", sandbox_id).stdout
    assert command("kill", sandbox_id).returncode == 0
    gone = command("kill", sandbox_id)
    assert (gone.returncode, gone.stderr) == (1, f"sandlot: no such sandbox: {sandbox_id}\n")


def test_exec_passes_input_output_and_the_exit_code(command: Command, sandbox: Sandbox) -> None:
    done = command("exec", sandbox.sandbox_id, "cat; echo bad >&2; exit 7", stdin="through\n")
    assert (done.stdout, done.stderr, done.returncode) == ("through\n", "bad\n", 7)
    assert command("exec", sandbox.sandbox_id, "--", "printf", "%s|", "a b", "c").stdout == "a b|c|"
    assert command("exec", "--cwd", "/tmp", "--user", "root", sandbox.sandbox_id, "pwd; id -u").stdout == "/tmp\n0\n"


def test_an_interrupted_exec_leaves_nothing_running(server: LiveServer, sandbox: Sandbox) -> None:
    process = subprocess.Popen([SANDLOT, "exec", sandbox.sandbox_id, "sleep 77"], env=server.environment)
    wait_until(lambda: is_running(sandbox, "sleep 77"), "the command runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    wait_until(lambda: not is_running(sandbox, "sleep 77"), "the command is gone")


def is_running(sandbox: Sandbox, line: str) -> bool:
    return any(line in " ".join(process.args) for process in sandbox.commands.list())


def test_copies_files_and_folders_both_ways(command: Command, sandbox: Sandbox, tmp_path: Path) -> None:
    source, back = tmp_path / "tree", tmp_path / "back"
    (source / "deep/empty").mkdir(parents=True)
    (source / "a").write_bytes(bytes(range(256)) * 5000)
    (source / "deep/b b").write_text("two")
    done = command("cp", str(source), f"{sandbox.sandbox_id}:/home/user/")
    assert done.returncode == 0, done.stderr
    done = command("cp", f"{sandbox.sandbox_id}:tree", str(back))
    assert done.returncode == 0, done.stderr
    assert describe(back) == describe(source)
    assert command("cp", str(source), str(back)).returncode == 1
    assert "there is no" in command("cp", str(tmp_path / "none"), f"{sandbox.sandbox_id}:x").stderr


def test_a_copy_shows_how_far_it_is(server: LiveServer, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(20_000_000))
    own = {name: value for name, value in server.environment.items() if name.startswith("SANDLOT_")}
    with open_terminal(own, SANDLOT, "cp", tmp_path / "large.bin", f"{sandbox.sandbox_id}:/tmp/") as terminal:
        wait_until(lambda: terminal.shows("left with 0"), "the copy is done")
        assert terminal.shows("large.bin")
        assert terminal.shows("20.0/20.0 MB")
    assert sandbox.files.get_info("/tmp/large.bin").size == 20_000_000


def describe(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def test_sync_keeps_a_folder_equal(server: LiveServer, sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    for number in range(1000):
        place = folder / f"dir{number % 10}/file{number}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(number))
    place = f"{sandbox.sandbox_id}:/home/user/mirror"
    process = subprocess.Popen(
        [SANDLOT, "sync", str(folder), place], env=server.environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert "1000 files copied" in process.stderr.readline()
        shutil.rmtree(folder / "dir3")
        (folder / "dir4").rename(folder / "moved")
        (folder / "new/deep").mkdir(parents=True)
        (folder / "new/deep/file").write_text("fresh")
        (folder / "dir5/file5").write_text("changed")
        (folder / "dir6/file6").unlink()
        (folder / "dir7/file7").unlink()
        (folder / "dir7/file7").mkdir()
        (folder / "dir7/file7/inside").write_text("a folder now")
        shutil.rmtree(folder / "dir8")
        (folder / "dir8").write_text("a file now")
        wanted = {name: data for name, data in describe(folder).items() if data is not None}
        wait_until(lambda: read_mirror(sandbox) == wanted, "the sandbox has the same files", 40)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)
        assert process.stderr is not None
        process.stderr.close()


READ_ALL = """
import contextlib, json, os
found = {}
for folder, _, names in os.walk('/home/user/mirror'):
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(FileNotFoundError):  # it is being changed meanwhile
            found[os.path.relpath(path, '/home/user/mirror')] = open(path).read()
print(json.dumps(found))
"""


def read_mirror(sandbox: Sandbox) -> dict[str, bytes]:
    sandbox.files.write("/tmp/read_all.py", READ_ALL)
    told = sandbox.commands.run("python3 /tmp/read_all.py").stdout
    return {name: text.encode() for name, text in json.loads(told).items()}


def test_events_are_told_as_they_happen(server: LiveServer, command: Command) -> None:
    process = subprocess.Popen([SANDLOT, "events", "--json"], env=server.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen: list[dict[str, object]] = []
    reader = threading.Thread(target=lambda: seen.extend(map(json.loads, process.stdout or [])))
    reader.start()
    try:
        # The stream begins some time after the program; a sandbox made before is not told of.
        made: list[str] = []

        def is_told() -> bool:
            made.append(command("create").stdout.strip())
            return any(event["sandboxID"] in made for event in seen)

        wait_until(is_told, "a new sandbox is told of", 60)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        reader.join(20)
        process.stdout.close()
    assert command("kill", *made).returncode == 0


def test_errors_say_what_to_do(command: Command, server: LiveServer) -> None:
    lost = subprocess.run(
        [SANDLOT, "ps"],
        env={**server.environment, "E2B_API_URL": "http://127.0.0.1:9", "E2B_API_KEY": "e2b_" + "0" * 40},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert lost.returncode == 1
    assert lost.stderr.startswith("sandlot: No server answers at http://127.0.0.1:9")
    assert "Traceback" not in lost.stderr
    unknown = command("logs", "inosuch")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "sandlot ps --all" in unknown.stderr
    assert command("shell", "inosuch").returncode == 2


@pytest.fixture
def terminal(server: LiveServer, sandbox: Sandbox) -> Iterator[Terminal]:
    own = {name: value for name, value in server.environment.items() if name.startswith("SANDLOT_")}
    with open_terminal(own, SANDLOT, "shell", sandbox.sandbox_id) as terminal:
        yield terminal


def test_a_shell_in_a_terminal(terminal: Terminal) -> None:
    wait_until(lambda: terminal.shows("@sandbox"), "the prompt shows")
    terminal.type("echo size $(stty size)")
    wait_until(lambda: terminal.shows("size 30 100"), "it has the terminal's size")
    terminal.ask("resize-window", "-t", terminal.name, "-x", "90", "-y", "25")
    # The new size arrives when it arrives: ask until it shows.
    wait_until(lambda: asks_size(terminal), "it follows the terminal's size")
    terminal.type("while true; do sleep 1; done")
    terminal.press("C-c")
    terminal.type("echo after interrupt $?")
    wait_until(lambda: terminal.shows("after interrupt 130"), "Ctrl-C reaches the loop and not us")
    terminal.type("vim.tiny new.txt")
    wait_until(lambda: terminal.shows("new.txt"), "vim shows")
    terminal.type("ihello from vim", "Escape")
    terminal.type(":wq")
    terminal.type("cat new.txt")
    wait_until(lambda: terminal.shows("hello from vim"), "vim wrote the file")
    terminal.type("top")
    wait_until(lambda: terminal.shows("load average"), "top shows")
    terminal.press("q")
    terminal.type("exit 5")
    wait_until(lambda: terminal.shows("left with 5"), "its exit code is the command's")


def asks_size(terminal: Terminal) -> bool:
    terminal.type("echo now $(stty size)")
    return terminal.shows("now 25 90")
