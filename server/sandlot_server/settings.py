"""Every setting of the server. Each is read from the environment variable `SANDLOT_<NAME>`."""

from __future__ import annotations

import hashlib
import tempfile
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MAX_SOCKET_PATH = 100

T = TypeVar("T")


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Listed = Annotated[tuple[T, ...], NoDecode, BeforeValidator(_split)]
"""Several values, joined by commas in the environment."""


class Settings(BaseSettings):
    """How this server runs. Immutable; nothing else reads the environment."""

    model_config = SettingsConfigDict(env_prefix="SANDLOT_", frozen=True, use_attribute_docstrings=True)

    home: Path = Path("~/.local/share/sandlot")
    """Folder of the database, the keys, the log and the pid file; one server at a time owns it."""

    host: str = "127.0.0.1"
    """Address that the front door listens on."""

    port: int = Field(default=3000, ge=0, le=65535)
    """TCP port of the front door; 0 lets the system choose one."""

    domain: str = "e2b.localhost"
    """Sandboxes answer under `<port>-<sandbox id>.<domain>`."""

    tls_port: int = Field(default=3443, ge=-1, le=65535)
    """TCP port of domain mode, https on 127.0.0.1 and ::1; 0 lets the system choose one, -1 turns it off."""

    tls_certificate: Path | None = None
    """Certificate chain (PEM) to show instead of one by this machine's own authority; needs `tls_key` too."""

    tls_key: Path | None = None
    """Private key (PEM) of `tls_certificate`."""

    runtime: Literal["docker", "memory"] = "docker"
    """What runs sandboxes. `memory` starts nothing: it is for tests of the server itself."""

    base_image: str = "sandlot/base:latest"
    """Image of the `base` template; `make images` builds it."""

    agent_volume: str | None = None
    """Docker volume with the agent; by default the newest one on the engine."""

    cpu_count: int = Field(default=2, ge=1)
    """CPUs that a sandbox of the base template may use."""

    memory_mb: int = Field(default=1024, ge=64)
    """Memory limit of a sandbox of the base template, in MiB; beyond it processes are killed, nothing is swapped."""

    pids_limit: int = Field(default=4096, ge=64)
    """Processes and threads that a sandbox may have at once."""

    disk_mb: int | None = Field(default=None, ge=16)
    """What a sandbox may write to its own disk, in MiB; counted, since the engine has no quota, so it is found a second
    or so late. Not set: no limit, and `diskSizeMB` is 0."""

    disk_action: Literal["event", "pause", "kill"] = "pause"
    """What becomes of a sandbox above `disk_mb`; with `event` it is told and nothing is done (`diskSizeMB` is 0)."""

    min_free_disk_mb: int = Field(default=1024, ge=0)
    """Below so many MiB free on the engine's disk, creates, snapshots and forks are refused with 429."""

    max_sandboxes: int = Field(default=200, ge=1)
    """Running sandboxes at once; one more is refused with 429."""

    max_memory_mb: int | None = Field(default=None, ge=64)
    """Together, running sandboxes may have memory limits of this many MiB; one more is refused with 429."""

    max_timeout_hours: int = Field(default=24, ge=1)
    """Longest time that a sandbox may run without being paused, in hours."""

    pool_size: int = Field(default=4, ge=0)
    """Containers kept started and idle per recently used template, so that create is fast; 0 turns the pool off."""

    pool_memory_mb: int = Field(default=8192, ge=0)
    """Together, idle containers may have memory limits of at most this many MiB."""

    pool_workers: int = Field(default=0, ge=0)
    """Idle containers started at once to refill the pool; 0: one for every two cores."""

    engine_threads: int = Field(default=8, ge=1)
    """Calls to the container engine at once."""

    agent_start_s: float = Field(default=60, gt=0)
    """How long a new container may take until its agent answers, in seconds."""

    max_builds: int = Field(default=2, ge=1)
    """Template builds at once; others wait for their turn."""

    max_waiting_builds: int = Field(default=20, ge=1)
    """Template builds that are not over; one more is refused with 429."""

    provision_packages: bool = True
    """Whether a build from a foreign image installs what the SDKs need and the image lacks (bash, sudo, curl, git)."""

    open_networks: Listed[IPv4Network] = ()
    """Private networks that sandboxes and builds may reach, such as `10.1.0.0/16,192.168.1.5`; others are closed."""

    dns_servers: Listed[IPv4Address] = ()
    """Where names are looked up for sandboxes; by default where the host looks them up."""

    extra_ca: Path | None = None
    """Root certificates (PEM) that programs in sandboxes and builds trust besides the usual ones."""

    http_proxy: str | None = None
    """URL of an HTTP proxy that programs in sandboxes and builds are to use; its address has to be open to them."""

    no_proxy: str = "localhost,127.0.0.1"
    """Hosts that they reach without it, joined by commas."""

    max_body_mb: int = Field(default=8, ge=1)
    """Largest body of an API request, in MiB; files are not bound by it."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe kind of message that is logged."""

    log_format: Literal["text", "json"] = "text"
    """`json` logs one object a line."""

    def __init__(self, **values: object) -> None:
        super().__init__(**values)  # type: ignore[arg-type]  # pydantic checks them
        object.__setattr__(self, "home", self.home.expanduser().absolute())

    @property
    def api_socket(self) -> Path:
        """Unix socket between the front door and the API; moved to the temporary folder when `home` is too deep."""
        path = self.home / "api.sock"
        if len(str(path)) <= MAX_SOCKET_PATH:
            return path
        return Path(tempfile.gettempdir()) / f"sandlot-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.sock"

    @property
    def enforced_disk_mb(self) -> int:
        """What a sandbox can write at most, in MiB; 0 when nothing keeps it from writing more."""
        return 0 if self.disk_mb is None or self.disk_action == "event" else self.disk_mb

    @property
    def tls_folder(self) -> Path:
        """Certificates of domain mode."""
        return self.home / "tls"

    @property
    def domain_file(self) -> Path:
        """Holds `domain:port` for as long as a server answers there."""
        return self.home / "domain"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "sandlot.db"
