#!/bin/sh
# Inside the build container: packages, the user, and what E2B's provisioning leaves behind.
set -eu
recipe=/opt/recipe

# Certificates that the builder asked for (SANDLOT_CA_FILE), one file each, as the tool wants them.
trust_extra() {
  [ -s "$recipe/extra-ca.crt" ] || return 0
  mkdir -p /usr/local/share/ca-certificates
  awk '/BEGIN CERT/ { n++ } n { print > sprintf("/usr/local/share/ca-certificates/extra-%d.crt", n) }' "$recipe/extra-ca.crt"
  # Not yet there in a registry's Debian; the package's own installation does it then.
  ! command -v update-ca-certificates >/dev/null || update-ca-certificates >/dev/null
}

install_packages() {
  apt-get update -qq
  # shellcheck disable=SC2046 # one word each
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(cat "$recipe/packages.txt")
  apt-get clean
  rm -rf /var/lib/apt/lists/*
}

make_user() {
  useradd --create-home --shell /bin/bash --uid 1000 user
  echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/user
  chmod 0440 /etc/sudoers.d/user
}

open_folders() {
  mkdir -p /code
  chmod 777 /code
  chmod -R a+rwX /usr/local
}

# Sandboxes run without the capability for raw sockets; ping then uses the ICMP sockets that the server allows,
# but only if its file asks neither for the capability nor for root. Debian's package sets one or the other.
strip_capabilities() {
  ! command -v setcap >/dev/null || setcap -r /usr/bin/ping 2>/dev/null || true
  chmod u-s /usr/bin/ping
}

# pip installs as on any machine of one's own: nothing here is Debian's to protect.
free_pip() {
  rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
}

trust_extra
install_packages
make_user
open_folders
strip_capabilities
free_pip
install -m 0644 "$recipe/profile" /etc/profile
rm -f /etc/machine-id /var/log/*.log /var/log/apt/*
touch /etc/machine-id
