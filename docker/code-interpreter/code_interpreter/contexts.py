"""Contexts: a kernel each, with a language, a folder and variables."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from code_interpreter.kernel import Kernel
from code_interpreter.messages import Line
from code_interpreter.variables import find_undoing, write_changes

HOME = "/home/user"
LANGUAGES = ("python", "javascript", "typescript", "r", "java", "bash")
"""Each has a kernel of its name."""
SHORT_NAMES = {"js": "javascript", "ts": "typescript", "": "python"}
Environment = Callable[[], Awaitable[dict[str, str]]]


class ContextFailed(Exception):
    """A context could not be made; the text says why."""


class ContextNotFound(Exception):
    """There is no context of this id."""


class Context:
    """What is defined in one piece of code is there for the next."""

    def __init__(self, language: str, cwd: str) -> None:
        self.id = str(uuid.uuid4())
        self.language = language
        self.cwd = cwd
        self._kernel = Kernel(language, cwd)
        self._turn = asyncio.Lock()
        self._shared: dict[str, str] | None = None
        self._executions: set[Execution] = set()

    async def start(self) -> None:
        """Raises ContextFailed."""
        try:
            await self._kernel.start()
        except (OSError, RuntimeError) as error:
            raise ContextFailed(f"Failed to create context: {error}") from error

    async def stop(self) -> None:
        """End the kernel; what runs is told of it."""
        self._kernel.give_up()
        async with self._turn:
            await self._kernel.stop()

    async def restart(self) -> None:
        """Forget all that was defined; what runs ends."""
        self._kernel.give_up()
        async with self._turn:
            await self._revive()

    async def _revive(self) -> None:
        self._shared = None
        await self._kernel.restart()

    async def interrupt(self) -> None:
        """Have the code that runs now raise."""
        await self._kernel.interrupt()

    def execute(self, code: str, own: Mapping[str, str], read_shared: Environment) -> Execution:
        """Begin to run code as soon as what was begun earlier has ended."""
        execution = Execution(self, self._run(code, own, read_shared), self._turn)
        self._executions.add(execution)
        execution.task.add_done_callback(lambda _: self._executions.discard(execution))
        return execution

    async def _run(self, code: str, own: Mapping[str, str], read_shared: Environment) -> AsyncIterator[Line]:
        if self._shared is None:
            shared = await read_shared()
            await self._set(shared)
            self._shared = shared
        await self._set(own)
        async for line in self._kernel.run(code):
            yield line
        if await self._kernel.is_gone():
            await self._revive()
        else:
            await self._set(find_undoing(own, self._shared))

    async def _set(self, changes: Mapping[str, str | None]) -> None:
        if changes:
            async for _ in self._kernel.run(write_changes(self.language, changes), hidden=True):
                pass


class Execution:
    """Code that runs, or waits for its turn, while somebody reads what it shows."""

    def __init__(self, context: Context, lines: AsyncIterator[Line], turn: asyncio.Lock) -> None:
        self._context = context
        self._lines = lines
        self._turn = turn
        self._shown: asyncio.Queue[Line | None] = asyncio.Queue()
        self._has_begun = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self._turn:
                self._has_begun = True
                async for line in self._lines:
                    self._shown.put_nowait(line)
        except Exception as error:
            self._shown.put_nowait(
                {"type": "error", "name": type(error).__name__, "value": str(error), "traceback": ""}
            )
        finally:
            self._shown.put_nowait(None)

    async def read(self) -> AsyncIterator[Line]:
        """Yield what the code shows; who stops reading has the code interrupted."""
        try:
            while (line := await self._shown.get()) is not None:
                yield line
        finally:
            await asyncio.shield(self._abandon())

    async def _abandon(self) -> None:
        if self.task.done():
            return
        if self._has_begun:
            await self._context.interrupt()
        else:
            self.task.cancel()


class Contexts:
    """All contexts; one of each language is the default one."""

    def __init__(self) -> None:
        self._contexts: dict[str, Context] = {}
        self._defaults: dict[str, str] = {}
        self._starting: dict[str, asyncio.Lock] = {}

    async def create(self, language: str | None, cwd: str | None) -> Context:
        """Raises ContextFailed."""
        context = Context(_find_language(language), cwd or HOME)
        await context.start()
        self._contexts[context.id] = context
        return context

    async def find_default(self, language: str | None) -> Context:
        """The context for code that names none, made when it is first asked for; raises ContextFailed."""
        name = _find_language(language)
        async with self._starting.setdefault(name, asyncio.Lock()):
            context = self._contexts.get(self._defaults.get(name, ""))
            if context is None:
                context = await self.create(name, HOME)
                self._defaults[name] = context.id
            return context

    def get(self, context_id: str) -> Context:
        """Raises ContextNotFound."""
        try:
            return self._contexts[context_id]
        except KeyError:
            raise ContextNotFound(f"Context {context_id} not found") from None

    def list(self) -> list[Context]:
        """In the order in which they were made."""
        return [*self._contexts.values()]

    async def remove(self, context_id: str) -> None:
        """End a context; raises ContextNotFound."""
        context = self.get(context_id)
        del self._contexts[context_id]
        await context.stop()

    async def close(self) -> None:
        """End all."""
        for context in self.list():
            await self.remove(context.id)


def _find_language(name: str | None) -> str:
    """Raises ContextFailed for a language without a kernel."""
    lowered = (name or "").strip().lower()
    language = SHORT_NAMES.get(lowered, lowered)
    if language not in LANGUAGES:
        raise ContextFailed(f"Failed to create context: no kernel for '{language}' (there are: {', '.join(LANGUAGES)})")
    return language
