#!/usr/bin/env bash
# Start the servers that tests need, if they are not running: PostgreSQL on 127.0.0.1:5432.
set -euo pipefail

running() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if running 5432; then
  echo "PostgreSQL runs on 127.0.0.1:5432"
  exit 0
fi
if ! ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1; then
  echo "Installing PostgreSQL ..."
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
fi
version="$(ls /etc/postgresql | sort -n | tail -n 1)"
# The tests log in as postgres without a password, from this machine only.
as_root sed -i -E 's/^(host\s+all\s+all\s+(127\.0\.0\.1\/32|::1\/128)\s+)\S+/\1trust/' \
  "/etc/postgresql/$version/main/pg_hba.conf"
as_root pg_ctlcluster --skip-systemctl-redirect "$version" main start
for _ in $(seq 50); do running 5432 && break; sleep 0.2; done
running 5432 || { echo "PostgreSQL does not answer on 127.0.0.1:5432" >&2; exit 1; }
echo "PostgreSQL started on 127.0.0.1:5432"
