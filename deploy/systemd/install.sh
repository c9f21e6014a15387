#!/bin/sh
# Puts a node on a Debian host, or a newer one in place of an older one:
#   install.sh BINARY              installs; starts or restarts the service once /etc/onlycare-signaling/.env is filled in
#   install.sh --no-start BINARY   the same, but neither enables nor starts it: another server has its port (docs/switch.md)
#   install.sh --rollback          goes back to the last binary before this one that became ready
# The new binary has to accept the real configuration before anything is switched to it.
# DESTDIR=/somewhere only lays out the files there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
name=onlycare-signaling
home=$root/opt/$name
etc=$root/etc/$name

say() { echo "install: $*"; }
fail() { echo "install: $*" >&2; exit 1; }

# What the node makes of its configuration, in the environment that the service gives it and, on a host, with its rights: a
# secret's file that only root may read is found here.
node() { # binary, argument
  set -- env -i PATH=/usr/bin:/bin NODE_ENV=production "$1" "$2"
  if [ -z "$root" ] && command -v runuser >/dev/null; then set -- runuser -u "$name" -- "$@"; fi
  (cd "$etc" && "$@")
}

# Whether a binary takes the configuration; what it warns of is shown, what it refuses it says itself.
takes_the_configuration() { # binary
  found=$(node "$1" --check-config) || return 1
  echo "$found" | sed -n 's/^warning: /install: warning: /p'
}

# Both names change in one step each, so that a start in between finds one of the two binaries.
point() { # link, target
  ln -sfn "$2" "$home/$1.new"
  mv -T "$home/$1.new" "$home/$1"
}

# Where this machine asks the node how it is.
ready_url() {
  options=$(node "$home/current/$name" --print-config 2>/dev/null || true)
  port=$(echo "$options" | sed -n 's/^ADMIN_PORT=//p')
  host=$(echo "$options" | sed -n 's/^HOST=//p')
  case $host in '' | 0.0.0.0) host=127.0.0.1 ;; ::) host=::1 ;; esac
  case $host in *:*) host="[$host]" ;; esac
  echo "http://$host:${port:-9001}/ready"
}

# It served: what comes after it may go back to it.
proved() { touch "$home/$(readlink "$home/current")/proved"; }

# So did one that became ready only when nobody waited for it any more.
look() {
  if [ -z "$root" ] && [ -e "$home/current/$name" ] && curl -fsS --max-time 2 "$(ready_url)" >/dev/null 2>&1; then proved; fi
}

restart() {
  [ -z "$root" ] || { proved; return 0; }
  hint="see: journalctl -u $name; back: $0 --rollback"
  # The old process drains first: DRAIN_DELAY_SECS + DRAIN_SECS. What the unit forbids may fail here though the configuration was
  # accepted: a secret's file under /home.
  if ! systemctl enable --quiet "$name" || ! systemctl restart "$name"; then fail "systemd does not start it, $hint"; fi
  url=$(ready_url)
  for _ in $(seq "${READY_SECONDS:-30}"); do
    if systemctl is-active --quiet "$name" && curl -fsS --max-time 2 "$url" >/dev/null 2>&1; then
      proved
      say "ready"
      return 0
    fi
    sleep 1
  done
  fail "not ready after ${READY_SECONDS:-30} s at $url, $hint"
}

# Kernel limits are raised, never lowered: what is higher on this machine already stays as it is.
raise() { # file of wanted values
  while IFS= read -r line; do
    key=$(echo "$line" | sed -n 's/^-\{0,1\}\([a-z][a-z0-9_.-]*\) *=.*/\1/p')
    if [ -z "$key" ] || ! now=$(sysctl -n "$key" 2>/dev/null); then
      echo "$line"
      continue
    fi
    case $key in
      *.ip_local_port_range)
        # The wider at either end.
        echo "$now ${line#*=}" | awk -v key="$key" '{print key " = " ($1 < $3 ? $1 : $3) " " ($2 > $4 ? $2 : $4)}'
        ;;
      # Of these a higher number is not more.
      *.tcp_tw_reuse) echo "$line" ;;
      *)
        if [ "$now" -gt "$(echo "${line#*=}" | tr -d ' ')" ]; then
          echo "# $key is $now on this machine: left as it is"
        else
          echo "$line"
        fi
        ;;
    esac
  done <"$1"
}

# The unit waits for a drain of the preset length; where this one's is longer so long, and a margin.
wait_for_drain() {
  options=$(node "$home/$release/$name" --print-config 2>/dev/null || true)
  before=$(echo "$options" | sed -n 's/^DRAIN_DELAY_SECS=//p')
  window=$(echo "$options" | sed -n 's/^DRAIN_SECS=//p')
  needed=$((${before:-5} + ${window:-20} + 15))
  longer=$root/etc/systemd/system/$name.service.d/drain.conf
  if [ "$needed" -gt "$(sed -n 's/^TimeoutStopSec=//p' "$here/$name.service")" ]; then
    install -d -m 755 "${longer%/*}"
    printf '[Service]\nTimeoutStopSec=%s\n' "$needed" >"$longer"
    say "the unit waits $needed s for the drain"
  else
    rm -f "$longer"
  fi
}

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "root is needed"
command -v curl >/dev/null || fail "curl is needed: apt-get install curl"
[ -n "$root" ] || [ -s /etc/ssl/certs/ca-certificates.crt ] || fail "certificates to know Laravel by are needed: apt-get install ca-certificates"
start=yes
if [ "${1:-}" = --no-start ]; then
  start=
  shift
  if [ -z "$root" ] && systemctl is-active --quiet "$name"; then fail "$name runs already: install it without --no-start"; fi
fi
case ${1:-} in
  --rollback)
    look
    was=$(readlink "$home/current" 2>/dev/null || true)
    to=$(readlink "$home/previous" 2>/dev/null || true)
    if [ -z "$to" ] || [ "$to" = "$was" ] || [ ! -e "$home/$to/$name" ]; then fail "there is no binary before this one"; fi
    takes_the_configuration "$home/$to/$name" || say "it refuses the configuration, see above; going back all the same"
    point current "$to"
    # There is no way back to one that never served.
    if [ -e "$home/$was/proved" ]; then point previous "$was"; fi
    say "back to $to"
    restart
    exit 0
    ;;
  '' | -*) fail "usage: install.sh [--no-start] BINARY | --rollback" ;;
esac

binary=$(realpath "$1")
words=$("$binary" --version) || fail "$binary does not run here"
release=${words##* }-$(sha256sum "$binary" | cut -c1-12)

if [ -z "$root" ] && ! getent passwd "$name" >/dev/null; then
  useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$name"
fi
install -d -m 755 "$home/$release" "$etc" "$root/etc/systemd/system" "$root/etc/sysctl.d"
# Not over a file that runs.
install -m 755 "$binary" "$home/$release/$name.new"
mv "$home/$release/$name.new" "$home/$release/$name"
[ -e "$etc/.env" ] || install -m 640 "$here/env.example" "$etc/.env"
if [ -z "$root" ]; then chown "root:$name" "$etc/.env"; fi

takes_the_configuration "$home/$release/$name" || fail "nothing was switched; fill in $etc/.env, then run this again"
[ -n "$(node "$home/$release/$name" --print-config | sed -n 's/^LARAVEL_API_URL=//p')" ] ||
  fail "nothing was switched; fill in $etc/.env (LARAVEL_API_URL is empty), then run this again"

install -m 644 "$here/$name.service" "$root/etc/systemd/system/$name.service"
wait_for_drain
if [ -z "$root" ]; then
  raise "$here/60-$name.conf" >"/etc/sysctl.d/60-$name.conf"
  systemctl daemon-reload
  sysctl --quiet -p "/etc/sysctl.d/60-$name.conf" 2>/dev/null || say "some kernel limits could not be set"
else
  install -m 644 "$here/60-$name.conf" "$root/etc/sysctl.d/60-$name.conf"
fi

look
now=$(readlink "$home/current" 2>/dev/null || true)
if [ "$now" != "$release" ]; then
  # The one before is the last that served, however many failed since.
  if [ -n "$now" ] && { [ -e "$home/$now/proved" ] || [ ! -e "$home/previous" ]; }; then point previous "$now"; fi
  point current "$release"
fi
# By its name, as the runbooks have it.
install -d -m 755 "$root/usr/local/bin"
ln -sfn "../../../opt/$name/current/$name" "$root/usr/local/bin/$name"
# The binary in use and the one before are kept, older ones go.
before=$(readlink "$home/previous" 2>/dev/null || true)
for old in "$home"/*/; do
  old=$(basename "$old")
  case $old in current | previous | "$release" | "$before") ;; *) rm -rf "${home:?}/$old" ;; esac
done
say "$release is in $home/current"
if [ -n "$start" ]; then restart; else say "not started, and not enabled"; fi
