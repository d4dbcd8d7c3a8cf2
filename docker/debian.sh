# shellcheck shell=bash
# The image that every other one starts from: minimal Debian, pulled where a registry answers, else made from packages.

DEBIAN_SUITE=bookworm
DEBIAN_IMAGE=sandlot/debian:$DEBIAN_SUITE
PULL_DEADLINE_S=60

ensure_debian() {
  has_image "$DEBIAN_IMAGE" && return
  if timeout "$PULL_DEADLINE_S" docker pull --quiet "debian:$DEBIAN_SUITE-slim" >/dev/null 2>&1; then
    say "pulled debian:$DEBIAN_SUITE-slim"
    docker tag "debian:$DEBIAN_SUITE-slim" "$DEBIAN_IMAGE"
  else
    bootstrap_debian
  fi
}

bootstrap_debian() {
  local sources log image
  say "no registry answers: making $DEBIAN_IMAGE from Debian packages"
  command -v mmdebstrap >/dev/null || install_mmdebstrap
  sources=$(find_sources)
  log=$(mktemp)
  # Signatures are checked with this host's keys. Without a source of its own it is Debian's public mirror.
  # Named only at the end: from a stream that breaks off the engine makes an image all the same.
  image=$(printf '%s\n' "$sources" |
    mmdebstrap --variant=minbase --architectures="$(engine_arch)" --include=ca-certificates "$DEBIAN_SUITE" - \
      ${sources:+-} 2>"$log" | docker import -) || {
    tail -n 20 "$log" >&2
    fail "mmdebstrap could not make $DEBIAN_IMAGE; SANDLOT_DEBIAN_MIRROR=<address> names another mirror"
  }
  rm -f "$log"
  docker tag "$image" "$DEBIAN_IMAGE"
}

install_mmdebstrap() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "neither a registry nor mmdebstrap is at hand: let this host pull debian:$DEBIAN_SUITE-slim, or install mmdebstrap"
  fi
  say "installing mmdebstrap"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mmdebstrap debian-archive-keyring; } >/dev/null
}

# Where packages come from: the mirror that was named, else the host's own, which may be an internal one.
find_sources() {
  if [ -n "${SANDLOT_DEBIAN_MIRROR:-}" ]; then
    echo "deb $SANDLOT_DEBIAN_MIRROR $DEBIAN_SUITE main"
    return
  fi
  local sources
  sources=$(host_sources)
  # A host whose package lists were thrown away does not know its own sources' origin.
  if [ -z "$sources" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null 2>&1 || true
    sources=$(host_sources)
  fi
  printf '%s' "$sources"
}

# The host's own lines for this suite.
host_sources() {
  # shellcheck disable=SC2016 # apt's own placeholders
  { apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(SITE)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null || true; } |
    sort -u | while read -r codename component site; do
      case $codename in
        "$DEBIAN_SUITE" | "$DEBIAN_SUITE"-*) echo "deb $site $codename $component" ;;
      esac
    done
}
