#!/usr/bin/env bash
# Finds a Docker engine; on Debian and Ubuntu, as root, installs and starts one where none answers.
#
#   engine.sh          prints DOCKER_HOST=… where it is not the default, and what it did on standard error
#   engine.sh --find   only looks
set -euo pipefail

LOG=/var/log/sandlot-dockerd.log
LOCK=/run/lock/sandlot-engine
WAIT_S=60

say() { printf 'engine: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
answers() { command -v docker >/dev/null && timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null | grep -q .; }

# The SDK for Python knows no contexts, so a context's address is handed on as DOCKER_HOST.
context_host() { docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true; }

find_engine() {
  answers || return 1
  local host=${DOCKER_HOST:-$(context_host)}
  if [ -n "$host" ] && [ "$host" != unix:///var/run/docker.sock ]; then printf 'DOCKER_HOST=%s\n' "$host"; fi
}

is_debian() { [ -r /etc/os-release ] && (. /etc/os-release && [[ " ${ID:-} ${ID_LIKE:-} " == *" debian "* ]]); }

install_engine() {
  say "no Docker engine here: installing Debian's docker.io (as root, with apt-get)"
  export DEBIAN_FRONTEND=noninteractive
  # Without a running init system the package must not try to start the service.
  { apt-get update -qq && apt-get install -y -qq docker.io; } >&2 || fail "apt-get could not install docker.io"
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    say "starting docker.service"
    systemctl start docker >&2
    return
  fi
  # A killed engine leaves its pid file; if that pid is anything else by now, dockerd refuses to start.
  if ! pgrep -x dockerd >/dev/null; then rm -f /run/docker.pid /var/run/docker.pid; fi
  say "starting dockerd in the background (log $LOG)"
  # live-restore: containers outlive the engine. A session and descriptors of its own: it outlives this script.
  setsid dockerd --live-restore >>"$LOG" 2>&1 </dev/null 9>&- &
}

wait_for_engine() {
  local end=$((SECONDS + WAIT_S))
  until answers; do
    ((SECONDS < end)) || fail "the engine does not answer after $WAIT_S s; see $LOG"
    sleep 0.2
  done
  say "Docker $(docker version --format '{{.Server.Version}}') answers"
}

make_engine() {
  if ! is_debian || [ "$(id -u)" != 0 ]; then
    fail "no Docker engine answers. Install one: on Debian or Ubuntu run this as root (or 'sudo apt-get install docker.io'), on macOS and Windows install Docker Desktop; then start it, or point DOCKER_HOST at it"
  fi
  [ -z "${DOCKER_HOST:-}" ] || fail "DOCKER_HOST is $DOCKER_HOST, but nothing answers there: correct it or unset it"
  # Two runs at once: the second waits here and then finds the first one's engine.
  exec 9>"$LOCK"
  flock 9
  answers && return
  command -v dockerd >/dev/null || install_engine
  start_engine
  wait_for_engine
}

find_engine && exit 0
[ "${1:-}" != --find ] || exit 0
make_engine
find_engine
