# shellcheck shell=bash
# How this host reaches packages (its proxy, its certificates, its index), handed on to the tools that do not ask.

adopt_host_network() {
  local proxy='' index
  # apt knows of a proxy that the environment need not name; builds and mmdebstrap want it there.
  if [ -z "${http_proxy:-}" ] && command -v apt-config >/dev/null; then
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    case $proxy in '' | DIRECT) ;; *) export http_proxy=$proxy ;; esac
  fi
  # uv reads neither pip's settings nor, by itself, the system's certificates.
  if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}; fi
  index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
  if [ -n "$index" ]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}; fi
}
