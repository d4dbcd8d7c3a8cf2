"""The files of COPY steps as clients upload them: one tar archive for each content hash."""

from __future__ import annotations

import asyncio
import os
import re
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiofiles

from sandlot_server.errors import InvalidRequest

HASH = re.compile(r"[0-9a-f]{64}")
DRAFT = ".draft"
KEPT_S = 14 * 24 * 3600
"""An archive that no build has used for this long is removed; the next build uploads it again."""


class Archives:
    """A folder of archives, by scope: nobody gets files that another scope has uploaded under the same hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, scope: str, files_hash: str) -> Path | None:
        """Return the archive, and count it as used; raises InvalidRequest when the hash is none."""
        path = self._place(scope, files_hash)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    async def receive(self, scope: str, files_hash: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep an archive, whole or not at all; raises InvalidRequest when the hash is none."""
        path = self._place(scope, files_hash)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{uuid.uuid4().hex}{DRAFT}")
        try:
            async with aiofiles.open(draft, "wb") as file:
                async for chunk in chunks:
                    await file.write(chunk)
            await asyncio.to_thread(draft.rename, path)
        finally:
            await asyncio.to_thread(draft.unlink, missing_ok=True)

    def clear(self, *, drafts: bool = False) -> None:
        """Remove what has not been used for long; with `drafts` also uploads that an earlier server left half done."""
        oldest = time.time() - KEPT_S
        for path in self._folder.glob("*/*"):
            is_draft = path.name.endswith(DRAFT)
            if (drafts and is_draft) or (not is_draft and path.stat().st_mtime < oldest):
                path.unlink(missing_ok=True)

    def _place(self, scope: str, files_hash: str) -> Path:
        if not HASH.fullmatch(files_hash):
            raise InvalidRequest("Invalid files hash")
        return self._folder / scope / files_hash
