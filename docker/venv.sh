#!/usr/bin/env bash
# Makes the project's own Python environment, .venv, from requirements.lock; instant when nothing has changed.
#
#   SANDLOT_BUNDLE   a file made by `sandlot bundle save`: packages come from it alone, and nothing is downloaded
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=docker/network.sh
. docker/network.sh

UV="uv>=0.9,<1"

say() { printf 'environment: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3.14 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# Debian keeps the means to make an environment in a package of its own, and need not have Python at all.
install_python() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "Python 3.11 or newer with its venv module is needed; on Debian and Ubuntu: apt-get install python3-venv"
  fi
  say "installing python3-venv"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } >/dev/null
}

make_venv() {
  local python
  if ! python=$(find_python); then
    install_python
    python=$(find_python) || fail "this system's Python is older than 3.11"
  fi
  "$python" -m venv .venv >/dev/null 2>&1 && return
  install_python
  "$python" -m venv .venv >&2 || fail "$python cannot make an environment: install the python3-venv that belongs to it"
}

install() {
  local source=()
  if [ -n "${SANDLOT_BUNDLE:-}" ]; then
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    tar -xf "$SANDLOT_BUNDLE" -C "$packages" packages || fail "$SANDLOT_BUNDLE has no packages in it"
    source=(--no-index --find-links "$packages/packages")
  fi
  say "installing what requirements.lock names${SANDLOT_BUNDLE:+, from $SANDLOT_BUNDLE}"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "${source[@]}" "$UV"
  .venv/bin/uv pip sync --quiet --python .venv/bin/python "${source[@]}" --require-hashes requirements.lock
  # uv itself is no dependency of the project: sync takes it away, and it is wanted for the next time.
  .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "${source[@]}" "$UV"
  .venv/bin/uv pip install --quiet --python .venv/bin/python "${source[@]}" --no-deps --editable .
}

exec 9>.venv.lock
flock 9
stamp=$(cat requirements.lock pyproject.toml "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv/stamp 2>/dev/null)" != "$stamp" ]; then
  started=$SECONDS
  # Without pip it is one that was interrupted while being made.
  .venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
  adopt_host_network
  install
  echo "$stamp" >.venv/stamp
  say "ready in $((SECONDS - started)) s"
fi
