#!/usr/bin/env bash
# Finds a Docker engine; on Debian and Ubuntu, as root, installs and starts one where none answers.
#
#   engine.sh          prints DOCKER_HOST=… where it is not the default, and what it did on standard error
#   engine.sh --find   only looks
set -euo pipefail

LOG=/var/log/sandlot-dockerd.log
INSTALL_LOG=/var/log/sandlot-engine-install.log
LOCK=/run/lock/sandlot-engine
CONFIG=/etc/docker/daemon.json
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
  configure_engine
  # Without a running init system the package must not try to start the service.
  { apt-get update -qq && apt-get install -y -qq docker.io; } >"$INSTALL_LOG" 2>&1 9>&- && return
  tail -n 20 "$INSTALL_LOG" >&2
  fail "apt-get could not install docker.io; the whole log is $INSTALL_LOG"
}

# Only an engine that we install: containers then outlive it, whoever starts it.
configure_engine() {
  [ -e "$CONFIG" ] && return
  mkdir -p "$(dirname "$CONFIG")"
  printf '{"live-restore": true}\n' >"$CONFIG"
}

# An option that stands in the file as well keeps dockerd from starting.
list_options() { grep -qs '"live-restore"' "$CONFIG" || echo --live-restore; }

# drop_stale FILE PROCESS: a pid file that a killed engine has left, its number free or anybody's by now
drop_stale() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || rm -f "$1"
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    say "starting docker.service"
    systemctl start docker >&2
    return
  fi
  # dockerd refuses to start over a living process, and waits for a containerd that is something else.
  drop_stale /run/docker.pid dockerd
  drop_stale /run/docker/containerd/containerd.pid containerd
  say "starting dockerd in the background (log $LOG)"
  local options
  read -ra options < <(list_options) || true
  # live-restore: containers outlive the engine. A session and descriptors of its own: it outlives this script.
  setsid dockerd "${options[@]}" >>"$LOG" 2>&1 </dev/null 9>&- &
}

wait_for_engine() {
  local end=$((SECONDS + WAIT_S))
  until answers; do
    if ((SECONDS >= end)); then
      tail -n 5 "$LOG" >&2 || true
      fail "the engine does not answer after $WAIT_S s; see $LOG"
    fi
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
