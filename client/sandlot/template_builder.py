"""The steps of a template, one call after the other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ._context import check_source
from ._recipe import Recipe, Step, find_caller
from .exceptions import BuildException
from .readiness import ReadyCmd
from .template_models import CopyItem

MCP_TEMPLATE = "mcp-gateway"

_Paths = str | Path | list[str | Path]
_Words = str | list[str]


class TemplateFinal:
    """A template with its start and ready commands: nothing can be added."""

    def __init__(self, recipe: Recipe, context: Path, ignore: Sequence[str]) -> None:
        self._recipe = recipe
        self._context = context
        self._ignore = ignore


class TemplateBuilder(TemplateFinal):
    """A template to which steps are added. All methods but the last two return the builder itself."""

    _force_next = False

    def copy(
        self,
        src: str | Path | list[str | Path],
        dest: str | Path,
        force_upload: Literal[True] | None = None,
        user: str | None = None,
        mode: int | None = None,
        resolve_symlinks: bool | None = None,
        gzip: bool | None = None,
    ) -> TemplateBuilder:
        """Copy files and folders, or what patterns such as `src/*` match, out of the folder of the template.

        `dest`: a folder if it ends with a slash or a folder is copied; below the working directory unless absolute.
        `user`: owner, or `owner:group`; else the user of the step. `mode`: for all of them, as in `0o755`.
        `force_upload`: send them even if the server has them. `resolve_symlinks`: copy what links lead to.
        `gzip`: whether they are compressed on their way, True unless given.
        Raises TemplateException when a source leads out of the folder.
        """
        for one in _listed(src):
            check_source(str(one))
            step = self._add("COPY", str(one), str(dest), user or "", "" if mode is None else _octal(mode))
            step.force = step.force or bool(force_upload)
            step.force_upload = bool(force_upload)
            step.resolve_symlinks = bool(resolve_symlinks)
            step.gzip = gzip is not False
        return self

    def copy_items(self, items: list[CopyItem]) -> TemplateBuilder:
        """Copy what each item names, as `copy` does."""
        for item in items:
            self.copy(
                item["src"],
                item["dest"],
                item.get("forceUpload"),
                item.get("user"),
                item.get("mode"),
                item.get("resolveSymlinks"),
                item.get("gzip"),
            )
        return self

    def remove(
        self,
        path: str | Path | list[str | Path],
        force: bool = False,
        recursive: bool = False,
        user: str | None = None,
    ) -> TemplateBuilder:
        """Remove files; folders too with `recursive`. `force`: what is not there is no failure."""
        flags = ["-r"] * recursive + ["-f"] * force
        return self._run(["rm", *flags, *_listed(path)], user)

    def rename(
        self, src: str | Path, dest: str | Path, force: bool = False, user: str | None = None
    ) -> TemplateBuilder:
        """Move a file or a folder. `force`: over what is there, even if it is write-protected."""
        return self._run(["mv", *["-f"] * force, src, dest], user)

    def make_dir(
        self, path: str | Path | list[str | Path], mode: int | None = None, user: str | None = None
    ) -> TemplateBuilder:
        """Make folders, with all above them that are missing. `mode`: as in `0o755`."""
        flags = [] if mode is None else ["-m", _octal(mode)]
        return self._run(["mkdir", "-p", *flags, *_listed(path)], user)

    def make_symlink(
        self, src: str | Path, dest: str | Path, user: str | None = None, force: bool = False
    ) -> TemplateBuilder:
        """Make `dest` a link that leads to `src`. `force`: in place of what is there."""
        return self._run(["ln", "-s", *["-f"] * force, src, dest], user)

    def run_cmd(self, command: str | list[str], user: str | None = None) -> TemplateBuilder:
        """Run a command, or several of which each needs the one before; by bash, in the working directory."""
        text = command if isinstance(command, str) else " && ".join(command)
        self._add("RUN", text, *([user] if user else []))
        return self

    def set_workdir(self, workdir: str | Path) -> TemplateBuilder:
        """Let what follows, and every sandbox, work in this folder; it is made if missing."""
        self._add("WORKDIR", str(workdir))
        return self

    def set_user(self, user: str) -> TemplateBuilder:
        """Let what follows, and every sandbox, run as this user; it is made if missing."""
        self._add("USER", user)
        return self

    def set_envs(self, envs: dict[str, str]) -> TemplateBuilder:
        """Set environment variables for the steps that follow; a value may name earlier ones, as in `$PATH`."""
        if envs:
            self._add("ENV", *(word for pair in envs.items() for word in pair))
        return self

    def pip_install(self, packages: str | list[str] | None = None, g: bool = True) -> TemplateBuilder:
        """Install Python packages, or the project in the working directory. `g`: for all users, by root."""
        return self._install(["pip", "install", *["--user"] * (not g)], packages or ["."], root=g)

    def npm_install(
        self, packages: str | list[str] | None = None, g: bool | None = False, dev: bool | None = False
    ) -> TemplateBuilder:
        """Install Node.js packages, or those of package.json. `g`: for all users, by root. `dev`: for development."""
        flags = ["-g"] * bool(g) + ["--save-dev"] * bool(dev)
        return self._install(["npm", "install", *flags], packages or [], root=bool(g))

    def bun_install(
        self, packages: str | list[str] | None = None, g: bool | None = False, dev: bool | None = False
    ) -> TemplateBuilder:
        """Install packages with Bun, or those of package.json. `g`: for all users, by root. `dev`: for development."""
        flags = ["-g"] * bool(g) + ["--dev"] * bool(dev)
        return self._install(["bun", "install", *flags], packages or [], root=bool(g))

    def apt_install(
        self, packages: str | list[str], no_install_recommends: bool = False, fix_missing: bool = False
    ) -> TemplateBuilder:
        """Install Debian packages, as root."""
        flags = ["--no-install-recommends"] * no_install_recommends + ["--fix-missing"] * fix_missing
        names = [packages] if isinstance(packages, str) else packages
        install = " ".join(["DEBIAN_FRONTEND=noninteractive apt-get install -y", *flags, *names])
        return self.run_cmd(["apt-get update", install], user="root")

    def git_clone(
        self,
        url: str,
        path: str | Path | None = None,
        branch: str | None = None,
        depth: int | None = None,
        user: str | None = None,
    ) -> TemplateBuilder:
        """Clone a repository. `branch`: this one alone. `depth`: only so many of its last commits."""
        flags = ["--branch", branch, "--single-branch"] if branch else []
        flags += ["--depth", str(depth)] if depth else []
        return self._run(["git", "clone", *flags, url, *([path] if path else [])], user)

    def add_mcp_server(self, servers: str | list[str]) -> TemplateBuilder:
        """See that the template has these MCP servers. Raises BuildException unless it begins with `mcp-gateway`."""
        if self._recipe.template != MCP_TEMPLATE:
            raise BuildException(f"MCP servers are added to what begins with from_template('{MCP_TEMPLATE}')")
        names = [servers] if isinstance(servers, str) else servers
        return self.run_cmd(shlex.join(["mcp-gateway", "pull", *names]), user="root")

    def skip_cache(self) -> TemplateBuilder:
        """Run every step from here on again, whatever an earlier build has left."""
        self._force_next = True
        return self

    def set_start_cmd(self, start_cmd: str, ready_cmd: str | ReadyCmd) -> TemplateFinal:
        """Start a command in every sandbox, which is there once `ready_cmd` succeeds. Nothing can follow."""
        self._recipe.start_command = start_cmd
        return self.set_ready_cmd(ready_cmd)

    def set_ready_cmd(self, ready_cmd: str | ReadyCmd) -> TemplateFinal:
        """Let a sandbox be there once this command succeeds. Nothing can follow."""
        self._recipe.ready_command = ready_cmd.get_cmd() if isinstance(ready_cmd, ReadyCmd) else ready_cmd
        return TemplateFinal(self._recipe, self._context, self._ignore)

    def _add(self, kind: str, *args: str) -> Step:
        file, line = find_caller()
        step = Step(kind, list(args), self._force_next, f"{file}:{line}")
        self._recipe.steps.append(step)
        return step

    def _run(self, words: Sequence[str | Path], user: str | None) -> TemplateBuilder:
        return self.run_cmd(shlex.join(str(word) for word in words), user)

    def _install(self, command: list[str], packages: _Words, *, root: bool) -> TemplateBuilder:
        # Not quoted, as with E2B: whoever writes several words, or a `>=` in quotes of their own, gets what they mean.
        names = [packages] if isinstance(packages, str) else packages
        return self.run_cmd(" ".join([*command, *names]), "root" if root else None)


TemplateClass = TemplateFinal | TemplateBuilder
"""What can be built."""


def _listed(paths: _Paths) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else paths


def _octal(mode: int) -> str:
    return f"{mode:04o}"
