#!/bin/sh
# Puts a node on a Debian host, or a newer one in place of an older one:
#   install.sh BINARY       installs; starts or restarts the service once /etc/onlycare-signaling/.env is filled in
#   install.sh --rollback   goes back to the binary before
# DESTDIR=/somewhere only lays out the files there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
name=onlycare-signaling
home=$root/opt/$name
etc=$root/etc/$name

say() { echo "install: $*"; }
fail() { echo "install: $*" >&2; exit 1; }

# Both names change in one step each, so that a start in between finds one of the two binaries.
point() { # link, target
  ln -sfn "$2" "$home/$1.new"
  mv -T "$home/$1.new" "$home/$1"
}

restart() {
  [ -z "$root" ] || return 0
  systemctl enable --quiet "$name"
  # The old process drains first: DRAIN_DELAY_SECS + DRAIN_SECS.
  systemctl restart "$name"
  for _ in $(seq 30); do
    systemctl is-active --quiet "$name" && curl -fsS --max-time 2 "http://127.0.0.1:${ADMIN_PORT:-9001}/ready" >/dev/null 2>&1 &&
      { say "ready"; return 0; }
    sleep 1
  done
  fail "not ready after 30 s, see: journalctl -u $name; back: $0 --rollback"
}

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "root is needed"
command -v curl >/dev/null || fail "curl is needed: apt-get install curl"
case ${1:-} in
  --rollback)
    [ -e "$home/previous/$name" ] || fail "there is no binary before this one"
    was=$(readlink "$home/current")
    point current "$(readlink "$home/previous")"
    point previous "$was"
    say "back to $(readlink "$home/current")"
    restart
    exit 0
    ;;
  '' | -*) fail "usage: install.sh BINARY | --rollback" ;;
esac

binary=$(realpath "$1")
words=$("$binary" --version) || fail "$binary does not run here"
release=${words##* }-$(sha256sum "$binary" | cut -c1-12)

if [ -z "$root" ] && ! getent passwd "$name" >/dev/null; then
  useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$name"
fi
install -d -m 755 "$home/$release" "$etc" "$root/etc/systemd/system" "$root/etc/sysctl.d"
install -m 755 "$binary" "$home/$release/$name"
install -m 644 "$here/$name.service" "$root/etc/systemd/system/$name.service"
install -m 644 "$here/60-$name.conf" "$root/etc/sysctl.d/60-$name.conf"
[ -e "$etc/.env" ] || install -m 640 "$here/env.example" "$etc/.env"
if [ -z "$root" ]; then
  chown "root:$name" "$etc/.env"
  systemctl daemon-reload
  sysctl --quiet --system 2>/dev/null || say "some kernel limits could not be set"
fi

now=$(readlink "$home/current" 2>/dev/null || true)
if [ "$now" != "$release" ]; then
  [ -z "$now" ] || point previous "$now"
  point current "$release"
fi
# The binary in use and the one before are kept, older ones go.
before=$(readlink "$home/previous" 2>/dev/null || true)
for old in "$home"/*/; do
  old=$(basename "$old")
  case $old in current | previous | "$release" | "$before") ;; *) rm -rf "${home:?}/$old" ;; esac
done
say "$release is in $home/current"

if ! (cd "$etc" && "$home/current/$name" --check-config >/dev/null); then
  fail "fill in $etc/.env, then run this again"
fi
if ! grep -q '^ *\(export *\)\{0,1\}LARAVEL_API_URL *= *[^ ]' "$etc/.env"; then
  fail "fill in $etc/.env (LARAVEL_API_URL is empty), then run this again"
fi
restart
