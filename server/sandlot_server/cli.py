"""The server's subcommands of `sandlot`: serve, status, env, trust, demo, debug, doctor, down; keys, teams, bundle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Annotated

import typer
from rich.console import Console

from sandlot_protocol.http import ENVD_PORT
from sandlot_server import control, daemon
from sandlot_server.bundle.cli import app as bundle
from sandlot_server.keyring import keys, teams
from sandlot_server.settings import Settings
from sandlot_server.telling import fail, telling_errors

Background = Annotated[bool, typer.Option("--background", help="Return once the server answers; it goes on running.")]
Everything = Annotated[bool, typer.Option("--all", help="Remove snapshots, built templates and the database as well.")]
Hint = Annotated[bool, typer.Option("--hint", help="Add what to try next, as comments.")]

Template = Annotated[str, typer.Option("--template", help="What the sandbox is made from.")]
Port = Annotated[int, typer.Option("--port", help="Where to listen; SDKs look nowhere else than by default.")]
Domain = Annotated[
    bool, typer.Option("--domain", help="https and a host name for each sandbox, instead of two plain URLs.")
]

TRUST = """This machine's own authority is {authority}
It can vouch for names under the server's domain and for loopback, and for nothing else.

programs          eval "$(sandlot env --domain)"
Debian, Ubuntu    sudo cp {authority} /usr/local/share/ca-certificates/sandlot.crt && sudo update-ca-certificates
Fedora            sudo trust anchor {authority}
macOS             sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {authority}
Chromium, Chrome  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n sandlot -i {authority}   (package libnss3-tools)
Firefox           Settings, Certificates, Authorities, Import: {authority}"""

NEXT = """
# Next: point this shell at Sandlot, then run any program that uses E2B:
#   eval "$(make -s env)"
#   python -c 'from e2b import Sandbox; print(Sandbox.create().commands.run("uname -a").stdout)'
"""


def register(app: typer.Typer) -> None:
    """Add the server's subcommands to the `sandlot` command."""
    for command in (serve, status, env, trust, demo, debug, doctor, down):
        app.command()(command)
    for group in (bundle, keys, teams):
        app.add_typer(group)


def run_server() -> None:
    """Run the server in this process until SIGTERM or SIGINT."""
    import uvloop

    from sandlot_server.app import serve as serve_app

    settings = Settings()
    with (
        telling_errors(),
        daemon.hold_pid_file(settings.home),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(serve_app(settings))


def serve(background: Background = False) -> None:
    """Run the server: the E2B API and the front door on one port."""
    if not background:
        run_server()
        return
    settings = Settings()
    with telling_errors():
        pid, started = daemon.start(settings.home, settings.host, settings.port)
    say = "server started" if started else "server already runs"
    typer.echo(
        f"{say}: http://{settings.host}:{settings.port} (pid {pid}, log {settings.home / 'server.log'})", err=True
    )
    _warn_of_limits()


def _warn_of_limits() -> None:
    from sandlot_server.doctor import examine_inotify

    finding = examine_inotify()
    if finding.fix is not None:
        typer.echo(f"sandlot: few sandboxes can watch files at once ({finding.found}): {finding.fix}", err=True)


def status() -> None:
    """Say whether the server answers; ends with 1 where it does not."""
    settings = Settings()
    url = f"http://{settings.host}:{settings.port}"
    if not daemon.answers(settings.host, settings.port):
        fail(f"nothing answers on {url}: start it with `make up` or `sandlot serve`")
    typer.echo(f"{url} answers (pid {daemon.find_pid(settings.home)}, home {settings.home})")
    try:
        door = control.call(settings, "GET", "/_sandlot/door")
    except daemon.DaemonError as error:
        typer.echo(f"what the front door has counted is not known: {error}", err=True)
        return
    typer.echo(
        f"front door: {door['requests']} requests ({door['refused']} refused, {door['active']} under way), "
        f"{door['connections']} connections, {door['tunnels']} upgraded, "
        f"{door['bytes_in'] / 1e6:.1f} MB in, {door['bytes_out'] / 1e6:.1f} MB out"
    )


def env(hint: Hint = False, domain: Domain = False) -> None:
    """Print what points the official SDKs at this server, as shell exports."""
    settings = Settings()
    exports = _sdk_environment(settings)
    if domain:
        # These two would win over the domain.
        typer.echo("unset E2B_API_URL E2B_SANDBOX_URL")
        exports = {**_domain_environment(settings), "E2B_API_KEY": exports["E2B_API_KEY"]}
    for name, value in exports.items():
        typer.echo(f"export {name}={value}")
    if hint:
        typer.echo(NEXT, nl=False)


def _domain_environment(settings: Settings) -> dict[str, str]:
    try:
        site = settings.domain_file.read_text().strip()
    except FileNotFoundError:
        fail(f"domain mode is off: no server with a TLS port runs on {settings.home}, or its port is taken (its log)")
    folder = settings.tls_folder / site.rpartition(":")[0]
    trusted = {} if settings.tls_certificate else {
        # It replaces what Python trusts, so the public roots are in it as well.
        "SSL_CERT_FILE": str(folder / "bundle.pem"),
        "NODE_EXTRA_CA_CERTS": str(folder / "ca.pem"),
    }  # fmt: skip
    return {"E2B_DOMAIN": site, **trusted}


def trust() -> None:
    """Say how browsers and the system come to trust this machine's own certificates."""
    authority = Settings().tls_folder / Settings().domain / "ca.pem"
    if not authority.exists():
        fail(f"there is no {authority} yet: start the server once")
    typer.echo(TRUST.format(authority=authority))


def _sdk_environment(settings: Settings) -> dict[str, str]:
    try:
        key = (settings.home / "key").read_text().strip()
    except FileNotFoundError:
        fail(f"there is no key in {settings.home}: start the server first with `make up` or `sandlot serve`")
    url = f"http://{settings.host}:{settings.port}"
    return {"E2B_API_URL": url, "E2B_SANDBOX_URL": url, "E2B_API_KEY": key}


def demo() -> None:
    """Run real code in a real sandbox through the official E2B SDK."""
    settings = Settings()
    if not daemon.answers(settings.host, settings.port):
        fail(f"nothing answers on http://{settings.host}:{settings.port}: start it with `make up` or `sandlot serve`")
    program = [sys.executable, "-m", "sandlot_server.demo"]
    raise typer.Exit(subprocess.run(program, env={**os.environ, **_sdk_environment(settings)}).returncode)


def doctor() -> None:
    """Look at everything that sandboxes need, and say how to mend what is missing."""
    from sandlot_server.doctor import examine

    console = Console(highlight=False)
    failed = 0
    for finding in examine(Settings()):
        mark = "[green]ok[/]  " if finding.fix is None else "[red]FAIL[/]"
        console.print(f"{mark} {finding.subject}: {finding.found}")
        if finding.fix is not None:
            failed += 1
            console.print(f"     FIX: {finding.fix}", markup=False)
    raise typer.Exit(1 if failed else 0)


def debug(template: Template = "base", port: Port = ENVD_PORT) -> None:
    """Have an agent for SDKs with E2B_DEBUG=true, on localhost, until Ctrl-C."""
    from sandlot_server.debugging import run

    with telling_errors():
        asyncio.run(run(Settings(), template, port, typer.echo))


def down(everything: Everything = False) -> None:
    """Stop the server and remove its sandboxes, its network and its firewall rules."""
    from sandlot_server.app import remove_installation

    settings = Settings()
    with telling_errors():
        stopped = daemon.stop(settings.home)
        removed = asyncio.run(remove_installation(settings, everything=everything))
    typer.echo(f"{'server stopped' if stopped else 'no server ran'}; {removed} containers removed", err=True)
