"""What a download's head says of the file: its type, its name, its date."""

from __future__ import annotations

import os

from sandlot_envd.ranges import format_date

TYPES = {
    "avif": "image/avif", "css": "text/css", "csv": "text/csv", "gif": "image/gif", "gz": "application/gzip",
    "htm": "text/html", "html": "text/html", "ico": "image/x-icon", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "js": "text/javascript", "json": "application/json", "md": "text/markdown", "mjs": "text/javascript",
    "mp3": "audio/mpeg", "mp4": "video/mp4", "pdf": "application/pdf", "png": "image/png", "svg": "image/svg+xml",
    "tar": "application/x-tar", "txt": "text/plain", "wasm": "application/wasm", "wav": "audio/wav",
    "webm": "video/webm", "webp": "image/webp", "woff2": "font/woff2", "xml": "text/xml", "zip": "application/zip",
}  # fmt: skip
"""What browsers need told; the rest is text or bytes, by a look at it. Never read from the image's own tables."""

SNIFFED = 512
_SPECIAL = frozenset('()<>@,;:\\"/[]?=')


def describe_file(path: str, head: bytes, mtime_ns: int) -> dict[str, str]:
    """Return the headers of a file that begins with `head` and was changed at `mtime_ns`."""
    name = os.path.basename(path)
    headers = {
        "Content-Type": find_type(name, head),
        "Content-Disposition": f"inline; {format_filename(name)}",
        "Vary": "Accept-Encoding",
    }
    changed = format_date(mtime_ns // 10**9)
    return {**headers, "Last-Modified": changed} if changed else headers


def find_type(name: str, head: bytes) -> str:
    """Return the media type, by the name's extension, else by the first bytes."""
    known = TYPES.get(name.rpartition(".")[2].lower()) if "." in name else None
    if known is None:
        known = "text/plain" if _is_text(head[:SNIFFED]) else "application/octet-stream"
    return f"{known}; charset=utf-8" if known.startswith("text/") else known


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) == SNIFFED  # a character cut in two at the end
    return True


def format_filename(name: str) -> str:
    """Return the `filename` parameter in the form that Go gives it, which clients of E2B see."""
    raw = os.fsencode(name)
    if any(not 32 <= byte <= 126 and byte != 9 for byte in raw):
        return f"filename*=utf-8''{_escape(raw)}"
    if name and not any(char <= " " or char in _SPECIAL for char in name):
        return f"filename={name}"
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'filename="{quoted}"'


def _escape(raw: bytes) -> str:
    plain = (32 < byte < 127 and chr(byte) not in _SPECIAL and chr(byte) not in "*'%" for byte in raw)
    return "".join(chr(byte) if keep else f"%{byte:02X}" for byte, keep in zip(raw, plain, strict=True))
