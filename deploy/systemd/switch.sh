#!/bin/sh
# The day of the switch from the deployed server to a node on the same host and port (docs/switch.md):
#   switch.sh check    changes nothing; says what is not ready
#   switch.sh go       check, stop the old, start the new; goes back by itself if the new one does not become ready
#   switch.sh back     stop the new, start the old
# /etc/onlycare-signaling/switch.conf says how the old one is stopped and started, and where Laravel's .env is:
#   OLD_STOP='pm2 stop socket-server'
#   OLD_START='pm2 start socket-server'
#   LARAVEL_ENV=/var/www/app/.env     (empty where Laravel is on another host)
# A value may be in a file of its own (NAME_FILE), and lines may end in a comment.
set -eu
etc=${ETC:-/etc/onlycare-signaling}
binary=${BINARY:-/opt/onlycare-signaling/current/onlycare-signaling}
name=onlycare-signaling
troubles=0

say() { echo "switch: $*"; }
bad() { echo "switch: NOT READY: $*" >&2; troubles=$((troubles + 1)); }
# What a file says: the last line counts, quotes, `export` and a comment behind the value are dropped.
value() { # file, name
  sed -n "s/^[[:space:]]*\(export[[:space:]]*\)\{0,1\}$2[[:space:]]*=[[:space:]]*//p" "$1" | tail -n 1 |
    sed -e "s/^\(['\"]\)\([^'\"]*\)\1.*\$/\2/;t" -e 's/[[:space:]]#.*$//' -e 's/^#.*$//' -e 's/[[:space:]]*$//'
}
# The same for a secret, which may be in a file.
secret() { # file, name
  found=$(value "$1" "$2")
  [ -n "$found" ] || { found=$(value "$1" "$2_FILE"); [ -z "$found" ] || found=$(cd "$etc" && cat "$found" 2>/dev/null || true); }
  echo "$found"
}
# A command in the environment that the service gives it and with its rights: what only root may read is found here.
service() { # words of env
  set -- env -i PATH=/usr/bin:/bin NODE_ENV=production "$@"
  if [ "$(id -u)" = 0 ] && command -v runuser >/dev/null; then set -- runuser -u "$name" -- "$@"; fi
  cd "$etc" && exec "$@"
}
# What the node makes of its configuration.
node() { # arguments
  (service "$binary" "$@")
}
option() { # name
  node --print-config 2>/dev/null | sed -n "s/^$1=//p"
}
# Where the service says whether it is ready.
ready_url() {
  port=$(option ADMIN_PORT)
  host=$(option HOST)
  case $host in '' | 0.0.0.0) host=127.0.0.1 ;; ::) host=::1 ;; esac
  case $host in *:*) host="[$host]" ;; esac
  echo "http://$host:${port:-9001}/ready"
}
old() { # command line of switch.conf
  sh -c "$1"
}

command -v curl >/dev/null || { bad "curl is needed: apt-get install curl"; exit 1; }
env_file=$etc/.env
if [ -r "$etc/switch.conf" ]; then
  # shellcheck source=/dev/null
  . "$etc/switch.conf"
fi

check() {
  [ -r "$env_file" ] || { bad "$env_file is not there: copy the deployed server's .env to it"; return; }
  [ -x "$binary" ] || { bad "$binary is not there: first $(dirname "$0")/install.sh --no-start BINARY"; return; }
  found=$(node --check-config) || bad "the configuration is refused, see above"
  echo "$found" | sed -n 's/^warning: /switch: warning: /p'
  url=$(option LARAVEL_API_URL)
  secret=$(secret "$env_file" LARAVEL_API_SECRET)
  [ -n "$url" ] || bad "LARAVEL_API_URL is empty"
  [ -n "$secret" ] || bad "LARAVEL_API_SECRET is empty: /api/ would be off"
  if [ ! -r "$etc/switch.conf" ]; then
    bad "$etc/switch.conf is not there: it says OLD_STOP, OLD_START and LARAVEL_ENV, as above in this script"
  else
    [ -n "${OLD_STOP:-}" ] && [ -n "${OLD_START:-}" ] || bad "switch.conf does not say OLD_STOP and OLD_START"
  fi

  # Laravel's words for a request without a token, this API's or the framework's; anything else and all phones would be held at the
  # door.
  base=${url%/}
  base=${base%/api/v1}
  known=
  for address in "$base/api/v1/users/me" "$base/users/me"; do
    curl -sS --max-time 5 -H 'Accept: application/json' "$address" 2>/dev/null | grep -qE 'UNAUTHENTICATED|"Unauthenticated\."' && known=$address
  done
  if [ -n "$known" ]; then say "Laravel answers at $known"; else bad "Laravel does not answer users/me at $base with its 401"; fi

  if [ -n "${LARAVEL_ENV:-}" ]; then
    [ -r "$LARAVEL_ENV" ] || bad "$LARAVEL_ENV is not there (LARAVEL_ENV in switch.conf)"
    theirs=$(value "$LARAVEL_ENV" WEBSOCKET_SECRET 2>/dev/null || true)
    # A comma list of two while rotating.
    case ",$secret," in
      *",${theirs:-nothing, really},"*) say "the secrets of both sides are equal" ;;
      *) bad "WEBSOCKET_SECRET of $LARAVEL_ENV differs from LARAVEL_API_SECRET: Laravel would be refused" ;;
    esac
  else
    say "Laravel is elsewhere: compare its WEBSOCKET_SECRET with LARAVEL_API_SECRET by hand"
  fi

  rehearse
}

# The new one beside the old one, on other ports and another prefix, so that neither notices the other. Of names that begin like
# its own keys and channels: Redis may let it use no others.
rehearse() {
  log=$(mktemp)
  prefix=$(option REDIS_PREFIX):node:rehearsal-$$
  (service PORT=0 API_PORT= ADMIN_PORT="${REHEARSAL_PORT:-9101}" HOST=127.0.0.1 REDIS_PREFIX="$prefix" DRAIN_DELAY_SECS=0 DRAIN_SECS=0 "$binary") >"$log" 2>&1 &
  node=$!
  ready=
  for _ in $(seq 20); do
    curl -fsS --max-time 2 "http://127.0.0.1:${REHEARSAL_PORT:-9101}/ready" >/dev/null 2>&1 && { ready=yes; break; }
    kill -0 "$node" 2>/dev/null || break
    sleep 0.5
  done
  kill "$node" 2>/dev/null || true
  wait "$node" 2>/dev/null || true
  if [ -n "$ready" ]; then say "it starts and is ready"; else bad "it does not become ready:"; tail -n 5 "$log" >&2; fi
  rm -f "$log"
}

go() {
  check
  [ "$troubles" = 0 ] || { say "nothing was changed"; exit 1; }
  at=$(ready_url)
  started=$(date +%s)
  old "$OLD_STOP" || say "the old server's stop command failed, going on"
  systemctl start "$name" || true
  for _ in $(seq 40); do
    if curl -fsS --max-time 2 "$at" >/dev/null 2>&1; then
      systemctl enable --quiet "$name" || true
      say "switched, $(($(date +%s) - started)) s; phones come back by themselves. Back: $0 back"
      return
    fi
    sleep 0.5
  done
  say "not ready after 20 s, going back"
  back
  exit 1
}

back() {
  [ -n "${OLD_START:-}" ] || { bad "$etc/switch.conf does not say OLD_START: nothing was changed"; exit 1; }
  # Its calls end with it: without a drain the old one is there sooner.
  systemctl kill --signal=SIGTERM "$name" 2>/dev/null || true
  systemctl kill --signal=SIGTERM "$name" 2>/dev/null || true
  systemctl stop "$name" || true
  systemctl disable --quiet "$name" || true
  old "$OLD_START"
  say "the old server is started"
}

case ${1:-} in
  check)
    check
    [ "$troubles" = 0 ] || exit 1
    say "ready to go"
    ;;
  go) go ;;
  back) back ;;
  *) echo "usage: switch.sh check | go | back" >&2; exit 2 ;;
esac
