#!/usr/bin/env bash
# Start the servers that tests and `make cluster` need, if they are not running, on 127.0.0.1:
# PostgreSQL (5432), RabbitMQ (5672), Redis (6379). And install docker-compose.
set -euo pipefail

running() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
updated=""
install_package() {
  echo "Installing $1 ..."
  [ -n "$updated" ] || as_root apt-get update -qq
  updated=yes
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"
}
# NAME PORT: wait until it listens.
await() {
  for _ in $(seq 150); do running "$2" && break; sleep 0.2; done
  running "$2" || { echo "$1 does not answer on 127.0.0.1:$2" >&2; exit 1; }
  echo "$1 started on 127.0.0.1:$2"
}

# No server, but what checks docker-compose.yaml; it needs no engine for that.
command -v docker-compose >/dev/null || install_package docker-compose

# Nor this: the tests of faults cut the network of a host of their own.
command -v ip >/dev/null || [ -x /usr/sbin/ip ] || install_package iproute2

if running 5432; then
  echo "PostgreSQL runs on 127.0.0.1:5432"
else
  ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || install_package postgresql
  version="$(ls /etc/postgresql | sort -n | tail -n 1)"
  # The tests log in as postgres without a password, from this machine only.
  as_root sed -i -E 's/^(host\s+all\s+all\s+(127\.0\.0\.1\/32|::1\/128)\s+)\S+/\1trust/' \
    "/etc/postgresql/$version/main/pg_hba.conf"
  # Where services are managed the package has started it, with the file as it was.
  if running 5432; then as_root pg_ctlcluster --skip-systemctl-redirect "$version" main reload
  else as_root pg_ctlcluster --skip-systemctl-redirect "$version" main start; fi
  await PostgreSQL 5432
fi

if running 5672; then
  echo "RabbitMQ runs on 127.0.0.1:5672"
else
  command -v rabbitmq-server >/dev/null || [ -x /usr/sbin/rabbitmq-server ] || install_package rabbitmq-server
  # Of this machine only; without a file of its own it listens everywhere.
  running 5672 || as_root env RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 ERL_EPMD_ADDRESS=127.0.0.1 \
    /usr/sbin/rabbitmq-server -detached
  await RabbitMQ 5672
fi

if running 6379; then
  echo "Redis runs on 127.0.0.1:6379"
else
  command -v redis-server >/dev/null || install_package redis-server
  # Its queues survive a restart.
  running 6379 || as_root redis-server --bind 127.0.0.1 --port 6379 --daemonize yes --appendonly yes \
    --dir /var/lib/redis
  await Redis 6379
fi
