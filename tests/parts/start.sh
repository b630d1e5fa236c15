# shellcheck shell=bash
# shellcheck disable=SC2154  # root, tools, work and logs are set by tests/run.
# Starts the real parts that a whole test run shares, each on a free port of this machine only, and exports where they are.
# Sourced by `tests/run`, which stops them. The tests themselves start Prometheus, Alertmanager, VictoriaMetrics, nats-server and the mail server.

postgres_programs=/usr/lib/postgresql/15/bin
postgres_pid='' postgres_port='' pgbouncer_pid='' pooler='' chromedriver_pid='' prism_pid=''

# Ports below the range that the kernel gives to outgoing connections and to "any port", so that nobody takes one between this look and its use.
free_port() {
    /usr/bin/python3 - <<'PY'
import random, socket

for port in random.sample(range(20000, 32000), 200):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port)
        break
else:
    raise SystemExit("no free port between 20000 and 32000")
PY
}

# wait_until PID COMMAND...: asks again until the command succeeds; gives up when the process has ended or after two minutes.
wait_until() {
    local pid=$1 deadline=$((SECONDS + 120))
    shift
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "the process ended before it was ready"
            return 1
        fi
        if ((SECONDS >= deadline)); then
            echo "not ready after two minutes"
            return 1
        fi
        sleep 0.1
    done
}

# http_status URL: prints the status code of one GET.
http_status() {
    /usr/bin/python3 - "$1" <<'PY'
import sys, urllib.error, urllib.request

try:
    print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
PY
}

http_answers() { [[ "$(http_status "$2")" == "$1" ]]; }

# Both become the program they are given, so its process id is the one to stop. The program leads its own process group,
# and the kernel ends it if this script is killed without a chance to clean up.
alone() { exec setpriv --pdeathsig=KILL -- setsid "$@"; }

# PostgreSQL refuses to run as root; then it runs as Debian's own user for it.
as_postgres() {
    [[ $EUID -eq 0 ]] || alone "$@"
    exec setpriv --reuid=postgres --regid=postgres --init-groups --pdeathsig=KILL -- setsid "$@"
}

start_postgres() {
    local home=$work/postgres
    mkdir "$home"
    [[ $EUID -ne 0 ]] || chown postgres:postgres "$home"
    (cd "$home" && as_postgres "$postgres_programs/initdb" -D "$home/data" -U postgres -A trust --encoding=UTF8 --locale=C.UTF-8) \
        >"$logs/initdb.log" 2>&1 || return 1
    postgres_port=$(free_port)
    # What a commit promises must hold in the tests too, so fsync and synchronous_commit stay on.
    (cd "$home" && as_postgres "$postgres_programs/postgres" -D "$home/data" \
        -c listen_addresses=127.0.0.1 -c port="$postgres_port" -c unix_socket_directories="$home" \
        -c fsync=on -c synchronous_commit=on -c max_connections=300) >"$logs/postgres.log" 2>&1 &
    postgres_pid=$!
    started+=("$postgres_pid")
    wait_until "$postgres_pid" "$postgres_programs/pg_isready" -q -h 127.0.0.1 -p "$postgres_port" -U postgres
    export ONEFIVE_TEST_POSTGRES="postgres://postgres@127.0.0.1:$postgres_port/postgres"
}

# Shares sessions between transactions. It is given no leave to ignore what it cannot carry over, and keeps fewer sessions than one
# service has connections, so that whatever is left to a session is met by another one.
start_pgbouncer() {
    local home=$work/pgbouncer port
    mkdir "$home"
    port=$(free_port)
    cat >"$home/pgbouncer.ini" <<INI
[databases]
* = host=127.0.0.1 port=$postgres_port user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 2000
default_pool_size = 4
server_idle_timeout = 5
INI
    [[ $EUID -ne 0 ]] || chown -R postgres:postgres "$home"
    (cd "$home" && as_postgres /usr/sbin/pgbouncer "$home/pgbouncer.ini") >"$logs/pgbouncer.log" 2>&1 &
    pgbouncer_pid=$!
    started+=("$pgbouncer_pid")
    pooler=127.0.0.1:$port
    wait_until "$pgbouncer_pid" "$postgres_programs/psql" -XAtq "postgres://postgres@$pooler/postgres" -c 'SELECT 1'
}

start_prism() {
    local port
    port=$(free_port)
    alone "$tools/npm/node_modules/.bin/prism" mock -h 127.0.0.1 -p "$port" --errors "$root/tests/twilio/twilio_api_v2010.json" >"$logs/prism.log" 2>&1 &
    prism_pid=$!
    started+=("$prism_pid")
    export ONEFIVE_TEST_PRISM="http://127.0.0.1:$port"
    # A call without a name and password must be refused: then the description is loaded and checked against.
    wait_until "$prism_pid" http_answers 401 "$ONEFIVE_TEST_PRISM/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json"
}

start_chromedriver() {
    local port
    port=$(free_port)
    alone /usr/bin/chromedriver --port="$port" >"$logs/chromedriver.log" 2>&1 &
    chromedriver_pid=$!
    started+=("$chromedriver_pid")
    export ONEFIVE_TEST_CHROMEDRIVER="http://127.0.0.1:$port"
    wait_until "$chromedriver_pid" http_answers 200 "$ONEFIVE_TEST_CHROMEDRIVER/status"
}

export_programs() {
    export ONEFIVE_TEST_CHROMIUM=/usr/bin/chromium
    export ONEFIVE_TEST_AXE=$tools/npm/node_modules/axe-core/axe.min.js
    export ONEFIVE_TEST_PROMETHEUS=/usr/bin/prometheus
    export ONEFIVE_TEST_PROMTOOL=/usr/bin/promtool
    export ONEFIVE_TEST_ALERTMANAGER=/usr/bin/prometheus-alertmanager
    export ONEFIVE_TEST_HAPROXY=/usr/sbin/haproxy
    export ONEFIVE_TEST_NATS_SERVER=/usr/sbin/nats-server
    export ONEFIVE_TEST_VICTORIA_METRICS=/usr/bin/victoria-metrics
    export ONEFIVE_TEST_STATISTICS=$tools/venv/bin/python
    export ONEFIVE_TEST_SMTP="/usr/bin/python3 $root/tests/parts/smtp.py"
}

# The versions, asked of the parts themselves.
print_parts() {
    local word='s/^[^0-9]*\([0-9][0-9.]*\).*/\1/'
    echo "real parts:"
    echo "  PostgreSQL $("$postgres_programs/psql" -XAtq "$ONEFIVE_TEST_POSTGRES" -c 'SHOW server_version')"
    echo "  pgbouncer $(/usr/sbin/pgbouncer --version | sed -n "1$word;1p")"
    echo "  Prometheus $(/usr/bin/prometheus --version 2>&1 | sed -n "1$word;1p"), promtool $(/usr/bin/promtool --version 2>&1 | sed -n "1$word;1p"), Alertmanager $(/usr/bin/prometheus-alertmanager --version 2>&1 | sed -n "1$word;1p")"
    echo "  Chromium $(/usr/bin/chromium --version 2>/dev/null | sed -n "1$word;1p"), ChromeDriver $(/usr/bin/chromedriver --version | sed -n "1$word;1p")"
    echo "  Prism $("$tools/npm/node_modules/.bin/prism" --version 2>/dev/null) with Twilio's description $(sed -n 's/.*release \([0-9.]*\),.*/\1/p' "$root/tests/twilio/README.md")"
    echo "  nats-server $(/usr/sbin/nats-server --version | sed -n "1$word;1p"), VictoriaMetrics $(dpkg-query -W -f '${Version}' victoria-metrics)"
    echo "  HAProxy $(/usr/sbin/haproxy -v | sed -n "1$word;1p")"
    echo "  aiosmtpd $(/usr/bin/python3 -c 'import aiosmtpd; print(aiosmtpd.__version__)')"
}
