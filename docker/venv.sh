#!/usr/bin/env bash
# Makes the project's own Python environment, .venv, from requirements.lock; instant when nothing has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

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
  fail "no Python 3.11 or newer here; on Debian and Ubuntu: apt-get install python3 python3-venv"
}

make_venv() {
  local python=$1
  "$python" -m venv .venv 2>/dev/null && return
  # Debian keeps the means for this in a package of its own.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing python3-venv"
    apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    "$python" -m venv .venv && return
  fi
  fail "$python cannot make an environment: install python3-venv"
}

install() {
  say "installing what requirements.lock names"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$UV"
  .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
  # uv itself is no dependency of the project: sync takes it away, and it is wanted for the next time.
  .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$UV"
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
}

exec 9>.venv.lock
flock 9
stamp=$(cat requirements.lock pyproject.toml "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv/stamp 2>/dev/null)" != "$stamp" ]; then
  started=$SECONDS
  [ -x .venv/bin/python ] || make_venv "$(find_python)"
  install
  echo "$stamp" >.venv/stamp
  say "ready in $((SECONDS - started)) s"
fi
