# Makes an image of any origin fit for sandboxes: tools that SDKs call, the user, what E2B's own builder leaves behind.
# Runs as root with whatever shell the image has. What the image has no means for is said, and is no failure:
# packages come from the image's own package manager, which needs a mirror that answers.
packages=$1
say() { echo "provisioning: $*"; }
has() { command -v "$1" >/dev/null 2>&1; }

missing=""
for tool in bash sudo curl git ss; do
  has "$tool" || missing="$missing $tool"
done
[ -s /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
has useradd || has adduser || missing="$missing useradd"

if [ -n "$missing" ] && [ "$packages" = yes ]; then
  ss=iproute2 useradd=passwd
  if has apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    install() { apt-get -q update && apt-get -qq install -y --no-install-recommends "$@" && rm -rf /var/lib/apt/lists/*; }
  elif has apk; then
    useradd=shadow
    install() { apk add --no-cache "$@"; }
  elif has dnf || has microdnf || has yum; then
    ss=iproute useradd=shadow-utils
    install() { dnf -y install "$@" || microdnf -y install "$@" || yum -y install "$@"; }
  elif has pacman; then
    useradd=shadow
    install() { pacman -Sy --noconfirm --needed "$@"; }
  else
    install() { say "the image has no package manager that is known here"; return 1; }
  fi
  wanted=""
  for tool in $missing; do
    case $tool in
      ss) wanted="$wanted $ss" ;;
      useradd) wanted="$wanted $useradd" ;;
      *) wanted="$wanted $tool" ;;
    esac
  done
  say "installing$wanted"
  # shellcheck disable=SC2086 # one word each
  install $wanted </dev/null || say "WARNING: not installed:$wanted"
fi
has bash || say "WARNING: the image has no bash: commands and RUN steps will not work in it"

if ! grep -qs '^user:' /etc/passwd; then
  shell=/bin/bash
  has bash || shell=/bin/sh
  if has useradd; then
    useradd -m -s $shell user
  elif has adduser; then
    adduser -D -s $shell user
  else
    mkdir -p /etc
    echo "user:x:1000:" >>/etc/group
    echo "user:x:1000:1000::/home/user:$shell" >>/etc/passwd
  fi
fi
if grep -q '^user:' /etc/passwd; then
  mkdir -p /home/user
  for file in .bashrc .profile .bash_logout; do
    [ ! -f "/etc/skel/$file" ] || [ -e "/home/user/$file" ] || cp -p "/etc/skel/$file" "/home/user/$file"
  done
  chown -R user:user /home/user 2>/dev/null || chown -R 1000:1000 /home/user
  for group in sudo wheel; do
    if grep -qs "^$group:" /etc/group && has usermod; then
      usermod -aG "$group" user
      break
    fi
  done
  if [ -f /etc/sudoers ]; then
    grep -q '^user ALL=(ALL:ALL) NOPASSWD: ALL' /etc/sudoers || echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' >>/etc/sudoers
  fi
fi

mkdir -p /code /etc/profile.d /usr/local
chmod 777 /code
chmod -R a+rwX /usr/local
if [ -d /etc ]; then
  echo "export SHELL='/bin/bash'" >/etc/profile.d/shell.sh
  echo 'if [ -f ~/.bashrc ]; then . ~/.bashrc; fi; if [ -f ~/.profile ]; then . ~/.profile; fi' >>/etc/profile
fi
rm -f /etc/machine-id
say "done"
