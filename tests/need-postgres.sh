#!/usr/bin/env bash
# PostgreSQL's programs, for the tests' own throw-away cluster. Installs the package where it is missing.
set -euo pipefail
found() { command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
found && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "missing: PostgreSQL's initdb. Install it (apt-get install postgresql) and run this again." >&2
  exit 1
fi
# Without the package's own cluster: nothing of ours uses it.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null
found
