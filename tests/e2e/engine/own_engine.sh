#!/bin/bash
# Runs a script in a world of its own (mounts, processes, network), where no engine has ever run. Nothing stays behind.
set -euo pipefail
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
unset DOCKER_HOST
unshare --mount --net --pid --fork --kill-child --mount-proc bash -euo pipefail -c '
  mount -t tmpfs none /run
  mkdir -p /run/lock /var/lib/docker /etc/docker '"$state"'/{lib,log,etc}
  mount --bind '"$state"'/lib /var/lib/docker
  mount --bind '"$state"'/log /var/log
  mount --bind '"$state"'/etc /etc/docker
  ip link set lo up
'"$1"
