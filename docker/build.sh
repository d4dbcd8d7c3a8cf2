#!/usr/bin/env bash
# Builds what sandboxes are made of, each part only when its recipe has changed:
#
#   build.sh [all|agent|base|server|TEMPLATE]…    TEMPLATE: code-interpreter, desktop, httpbin, mcp-gateway
#
# Prints NAME=value lines for the server on standard output, progress on standard error.
#
#   SANDLOT_DEBIAN_MIRROR   packages' address where no registry answers and the host has none of its own
#   SANDLOT_BUNDLE          a file made by `sandlot bundle save`, asked before anything is built
#   SANDLOT_CA_FILE         certificates (PEM) that the base template trusts besides the usual ones
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# shellcheck source=docker/debian.sh
. "$here/debian.sh"
# shellcheck source=docker/network.sh
. "$here/network.sh"

say() { printf 'images: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has_image() { docker image inspect "$1" >/dev/null 2>&1; }
engine_arch() { docker version --format '{{.Server.Arch}}'; }

# hash_of PATH…: twelve hex digits over names and contents, the engine's architecture included
hash_of() {
  { engine_arch; cd "$root"; find "$@" -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; } |
    sha256sum | cut -c1-12
}

# build_image IMAGE CONTEXT DOCKERFILE [BUILD-ARG…]: docker build, its output shown only as it fails or on a terminal
build_image() {
  local image=$1 context=$2 file=$3 log started=$SECONDS
  shift 3
  log=$(mktemp)
  say "building $image"
  local argument arguments=()
  for argument; do arguments+=(--build-arg "$argument"); done
  # Known to every build without being declared, and not kept in the image.
  for argument in http_proxy https_proxy no_proxy; do
    if [ -n "${!argument:-}" ]; then arguments+=(--build-arg "$argument"); fi
  done
  if ! DOCKER_BUILDKIT=0 docker build --force-rm -t "$image" -f "$context/$file" "${arguments[@]}" "$context" 2>&1 |
    tee "$log" | show_progress; then
    tail -n 40 "$log" >&2
    fail "building $image failed; the whole log is $log"
  fi
  rm -f "$log"
  say "built $image in $((SECONDS - started)) s"
}

# On a terminal one line that is written over, elsewhere one line for each step.
show_progress() {
  if [ -t 2 ]; then
    while IFS= read -r line; do printf '\r\033[K  %.110s' "$line" >&2; done
    printf '\r\033[K' >&2
  else
    grep --line-buffered '^Step ' >&2 || true
  fi
}

# What the bundle holds is loaded once, when the first thing is missing; false where there is no bundle to load.
load_bundle() {
  [ -n "${SANDLOT_BUNDLE:-}" ] && [ -z "${bundle_loaded:-}" ] || return 1
  bundle_loaded=yes
  "$root/.venv/bin/sandlot" bundle load "$SANDLOT_BUNDLE" >&2
}

build_agent() {
  local runtime code volume
  runtime=sandlot/agent-runtime:$(hash_of docker/agent docker/debian.sh)
  code=$(hash_of docker/agent docker/debian.sh envd/sandlot_envd envd/sandlot_protocol)
  volume=sandlot-agent-$code
  if ! is_filled "$volume" && ! { load_bundle && is_filled "$volume"; }; then
    has_image "$runtime" || build_runtime "$runtime"
    # The engine may keep its volumes on another machine, or where only root can look.
    has_mark "$runtime" "$volume" || fill_volume "$runtime" "$volume" "$code"
  fi
  printf 'SANDLOT_AGENT_VOLUME=%s\n' "$volume"
}

build_runtime() {
  local context
  ensure_debian
  context=$(mktemp -d)
  cp "$here"/agent/* "$context"
  install_wheels "$here/agent/requirements.lock" "$context/wheels"
  build_image "$1" "$context" Dockerfile "BASE=$DEBIAN_IMAGE"
  rm -rf "$context"
}

# A volume counts only with the mark that is set when everything is in it.
is_filled() {
  local folder
  folder=$(docker volume inspect --format '{{.Mountpoint}}' "$1" 2>/dev/null) && [ -e "$folder/.complete" ]
}

# has_mark RUNTIME VOLUME: the same, asked from inside a container. An empty volume would be given the image's tree.
has_mark() {
  docker volume inspect "$2" >/dev/null 2>&1 &&
    docker run --rm --network none -v "$2:/look:ro" --entrypoint test "$1" -e /look/.complete
}

fill_volume() {
  local runtime=$1 volume=$2 code=$3
  say "filling volume $volume"
  docker volume rm -f "$volume" >/dev/null
  docker volume create --label "dev.sandlot.agent=$code" --label dev.sandlot.role=agent "$volume" >/dev/null
  # The engine copies the image's tree into an empty volume before the command starts.
  # The mark comes last in the stream: one that was cut off between two files would look whole without it.
  tar -C "$root/envd" --exclude=__pycache__ --exclude=proto --exclude=generate.py -c sandlot_envd sandlot_protocol \
    -C "$here/agent" end-of-code |
    docker run --rm -i --network none -v "$volume:/opt/sandlot" "$runtime" /opt/sandlot-recipe/add-code.sh
}

# The image that the server's own starts from, where a registry's Python cannot be pulled.
build_server_base() {
  local image context
  if docker image inspect python:3.11-slim-bookworm >/dev/null 2>&1 ||
    timeout 120 docker pull --quiet python:3.11-slim-bookworm >/dev/null 2>&1; then
    printf 'SANDLOT_SERVER_BASE=python:3.11-slim-bookworm\n'
    return
  fi
  image=sandlot/server-base:$(hash_of docker/server docker/debian.sh)
  if ! has_image "$image"; then
    ensure_debian
    context=$(mktemp -d)
    cp "$here/server/base.Dockerfile" "$context"
    install_wheels "$here/server/requirements.lock" "$context/packages"
    build_image "$image" "$context" base.Dockerfile "BASE=$DEBIAN_IMAGE"
    rm -rf "$context"
  fi
  printf 'SANDLOT_SERVER_BASE=%s\n' "$image"
}

# install_wheels LOCK FOLDER: what the lock names, for the engine's machine, by this host's own package settings
install_wheels() {
  local machine
  case $(engine_arch) in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) fail "no wheels are pinned for the engine's architecture, $(engine_arch)" ;;
  esac
  [ -x "$root/.venv/bin/uv" ] || "$here/venv.sh"
  "$root/.venv/bin/uv" pip install --quiet --no-config --target "$2" --python-version 3.11 \
    --python-platform "$machine-unknown-linux-gnu" --only-binary :all: --require-hashes -r "$1" >&2
}

build_base() {
  local hash image context
  hash=$(hash_of docker/base docker/debian.sh ${SANDLOT_CA_FILE:+"$(realpath "$SANDLOT_CA_FILE")"})
  image=sandlot/base:$hash
  if ! has_image "$image" && ! { load_bundle && has_image "$image"; }; then
    ensure_debian
    context=$(mktemp -d)
    cp "$here"/base/* "$context"
    [ -z "${SANDLOT_CA_FILE:-}" ] || cp "$SANDLOT_CA_FILE" "$context/extra-ca.crt"
    build_image "$image" "$context" Dockerfile "BASE=$DEBIAN_IMAGE"
    rm -rf "$context"
  fi
  docker tag "$image" sandlot/base:latest
  printf 'SANDLOT_BASE_IMAGE=%s\n' "$image"
}

# build_template NAME: the recipe docker/NAME on top of the base template. The image's labels say what template it is.
build_template() {
  local name=$1 hash image context
  build_base >/dev/null
  hash=$(hash_of "docker/$name" docker/base docker/debian.sh ${SANDLOT_CA_FILE:+"$(realpath "$SANDLOT_CA_FILE")"})
  image=sandlot/$name:$hash
  if ! has_image "$image" && ! { load_bundle && has_image "$image"; }; then
    context=$(mktemp -d)
    cp -r "$here/$name"/. "$context"
    [ ! -e "$context/requirements.lock" ] || install_wheels "$context/requirements.lock" "$context/wheels"
    [ ! -e "$context/package-lock.json" ] || install_node_modules "$context"
    build_image "$image" "$context" Dockerfile BASE=sandlot/base:latest
    rm -rf "$context"
  fi
  docker tag "$image" "sandlot/$name:latest"
}

# install_node_modules FOLDER: what its lock names, for the engine's machine; ready-made parts only, nothing is run
install_node_modules() {
  local machine
  command -v npm >/dev/null || fail "npm is needed for the packages of this template"
  machine=$(engine_arch)
  npm ci --prefix "$1" --os linux --cpu "${machine/amd64/x64}" --omit dev --ignore-scripts --no-audit --no-fund >&2
}

main() {
  # One build at a time: the second finds what the first has built. A file for each user, since none could open
  # another's here.
  exec 9>"${TMPDIR:-/tmp}/sandlot-build-$(id -u).lock"
  flock 9
  docker version >/dev/null 2>&1 || fail "no Docker engine answers: run docker/engine.sh"
  adopt_host_network
  local part
  for part in "${@:-all}"; do
    case $part in
      all) build_agent; build_base ;;
      agent) build_agent ;;
      base) build_base ;;
      server) build_server_base ;;
      code-interpreter | desktop | httpbin | mcp-gateway) build_template "$part" ;;
      *) fail "no such part: $part (all, agent, base, server, code-interpreter, desktop, httpbin, mcp-gateway)" ;;
    esac
  done
}

main "$@"
