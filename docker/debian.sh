# shellcheck shell=bash
# The image that every other one starts from: minimal Debian, pulled where a registry answers, else made from packages.

DEBIAN_SUITE=bookworm
DEBIAN_IMAGE=sandlot/debian:$DEBIAN_SUITE

ensure_debian() {
  has_image "$DEBIAN_IMAGE" && return
  if timeout 60 docker pull --quiet "debian:$DEBIAN_SUITE-slim" >/dev/null 2>&1; then
    say "pulled debian:$DEBIAN_SUITE-slim"
    docker tag "debian:$DEBIAN_SUITE-slim" "$DEBIAN_IMAGE"
  else
    bootstrap_debian
  fi
}

bootstrap_debian() {
  say "no registry answers: making $DEBIAN_IMAGE from Debian packages"
  command -v mmdebstrap >/dev/null || install_mmdebstrap
  # Signatures, mirror and proxy are those of this host's apt.
  host_sources | mmdebstrap --quiet --variant=minbase --include=ca-certificates "$DEBIAN_SUITE" - - 2>/dev/null |
    docker import - "$DEBIAN_IMAGE" >/dev/null
  has_image "$DEBIAN_IMAGE" || fail "mmdebstrap made no image"
}

install_mmdebstrap() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "neither a registry nor mmdebstrap is at hand: let this host pull debian:$DEBIAN_SUITE-slim, or install mmdebstrap"
  fi
  say "installing mmdebstrap"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mmdebstrap debian-archive-keyring; } >/dev/null
}

# The host's own lines for this suite, so that an internal mirror is used wherever there is one.
host_sources() {
  # shellcheck disable=SC2016 # apt's own placeholders
  apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(SITE)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
    sort -u | while read -r codename component site; do
      case $codename in
        "$DEBIAN_SUITE" | "$DEBIAN_SUITE"-*) echo "deb $site $codename $component" ;;
      esac
    done
}
