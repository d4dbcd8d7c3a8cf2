#!/bin/sh
# Inside the build container: packages, the user, and what E2B's provisioning leaves behind.
set -eu
recipe=/opt/recipe

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
# but only if its file does not ask for the capability.
strip_capabilities() {
  setcap -r /usr/bin/ping 2>/dev/null || true
}

# pip installs as on any machine of one's own: nothing here is Debian's to protect.
free_pip() {
  rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
}

install_packages
make_user
open_folders
strip_capabilities
free_pip
install -m 0644 "$recipe/profile" /etc/profile
rm -f /etc/machine-id /var/log/*.log /var/log/apt/*
touch /etc/machine-id
