#!/bin/sh
# Prepares this clone: installs the Debian packages that it needs, then creates .venv from the pinned requirements.
# `make run`, `make test` and `make lint` call it every time. If nothing is to do, it only compares a fingerprint.
# PYTHON selects another interpreter than python3. The argument "run" leaves out the Python packages that `make run` does
# not need, and "tests" adds the Debian packages that only tests need.
set -eu
cd "$(dirname "$0")/.."

goal=${1:-}
packages=dev
[ "$goal" != run ] || packages=demo
log=.run/bootstrap.log
hold=/etc/postgresql-common/createcluster.d/stacflask.conf
policy=/usr/sbin/policy-rc.d
as_root=

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# step WHAT COMMAND...: runs the command with its output in the log, and prints one line with the time.
step() {
    what=$1
    shift
    [ -t 1 ] || printf '%s ... ' "$what"
    began=$(date +%s)
    "$@" >"$log" 2>&1 </dev/null &
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        [ ! -t 1 ] || printf '\r\033[K%s ... %s s' "$what" "$(($(date +%s) - began))"
        sleep 0.3
    done
    [ ! -t 1 ] || printf '\r\033[K%s ... ' "$what"
    wait "$job" || { echo failed; tail -n 30 "$log" >&2; die "" "Failed: $what. The end of its output is above, all of it in $log."; }
    job=
    echo "$(($(date +%s) - began)) s"
}

find_python() {
    for python in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
    done
    die "stacflask needs Python 3.11 or newer, and none was found. Install one, or set PYTHON=/path/to/python3."
}

# Succeeds if a PostgreSQL is installed with its PostGIS. A pg_ctl on the PATH is not enough.
has_postgis() {
    for control in /usr/share/postgresql/*/extension/postgis.control; do
        major=${control#/usr/share/postgresql/}
        if [ -x "/usr/lib/postgresql/${major%%/*}/bin/postgres" ] && [ -e "$control" ]; then return 0; fi
    done
    return 1
}

# Prints the PostGIS package for a PostgreSQL that is installed, if Debian has one, else the default package.
postgis_package() {
    for postgres in $(ls -rv /usr/lib/postgresql/*/bin/postgres 2>/dev/null); do
        major=${postgres#/usr/lib/postgresql/}
        package="postgresql-${major%%/*}-postgis-3"
        if [ -n "$(apt-cache show "$package" 2>/dev/null)" ]; then echo "$package"; return; fi
    done
    echo postgresql-postgis
}

# Prints a line for each missing package, with its purpose.
missing() {
    has_postgis || echo "$(postgis_package)  PostgreSQL with PostGIS, the database of the catalogue"
    command -v curl >/dev/null || echo "curl  for the commands to try"
    [ "$goal" != tests ] || missing_for_tests
    [ -x .venv/bin/python ] || can_make_venv || ! is_debian_python ||
        echo "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv  creates .venv"
}

missing_for_tests() {
    command -v wget >/dev/null || echo "wget  a client that the tests download with"
    command -v unzip >/dev/null || echo "unzip  a program that the tests open archives with"
    [ -x /usr/sbin/pgbouncer ] || echo "pgbouncer  a connection pooler for tests"
}

can_make_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

# Debian's packages are only for Debian's own Python.
is_debian_python() {
    case $(command -v "$python") in
        /usr/bin/*) return 0 ;;
        *) return 1 ;;
    esac
}

package_names() { printf '%s\n' "$1" | sed 's/  .*//' | tr '\n' ' '; }

can_install() {
    [ "$(id -u)" -ne 0 ] || return 0
    as_root="sudo -n"
    sudo -n true 2>/dev/null
}

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -o DPkg::Lock::Timeout=300 "$@"
}

# Debian would start system-wide servers after their installation. This clone uses private servers instead.
prevent_system_servers() {
    $as_root sh -c "mkdir -p '${hold%/*}' && echo 'create_main_cluster = false' >'$hold'"
    [ -e "$policy" ] || {
        $as_root sh -c "printf '#!/bin/sh\nexit 101\n' >'$policy' && chmod 755 '$policy'"
        held=yes
    }
}

clean_up() {
    [ -z "${job:-}" ] || kill "$job" 2>/dev/null || true
    [ -z "${held:-}" ] || $as_root rm -f "$policy"
    [ ! -e "$hold" ] || $as_root sh -c "rm -f '$hold'; rmdir --ignore-fail-on-non-empty '${hold%/*}'"
}

install_packages() {
    list=$(missing)
    [ -n "$list" ] || return 0
    command -v apt-get >/dev/null ||
        die "These packages are missing. This is not Debian or Ubuntu, so install them yourself:" "$list"
    echo "Missing Debian packages, with their purpose:"
    printf '%s\n' "$list" | sed 's/^/  /'
    can_install || die "Only root can install them. Run:" "" \
        "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends $(package_names "$list")" ""
    step "Reading Debian's package lists" apt update
    prevent_system_servers
    # The new lists can contain another package than the old ones.
    # shellcheck disable=SC2046
    step "Installing Debian packages" apt install --yes --no-install-recommends $(package_names "$(missing)")
    list=$(missing)
    [ -z "$list" ] || die "Still missing after the installation:" "$list"
}

# Succeeds if a browser runs. Ubuntu's chromium-browser without snapd is a script that only prints a text and exits.
has_browser() {
    for browser in chromium chromium-browser google-chrome; do
        if "$browser" --version >/dev/null 2>&1 </dev/null; then return; fi
    done
    return 1
}

# Succeeds if the package has the browser. Ubuntu's installs a snap instead.
has_browser_package() { ! apt-cache depends chromium 2>/dev/null | grep -q snapd; }

# Prints a line for each missing package that only some tests need. Without them, these tests are skipped.
missing_optional() {
    command -v aria2c >/dev/null || echo "aria2  a client that downloads lists"
    [ "${BROWSER:-}" = no ] || has_browser || echo "chromium  a browser, which is large (BROWSER=no skips it)"
}

add_optional() {
    list=$(missing_optional)
    [ -n "$list" ] || return 0
    echo "Missing Debian packages that only some tests need, with their purpose:"
    printf '%s\n' "$list" | sed 's/^/  /'
    if command -v apt-get >/dev/null && can_install && (install_optional) && [ -z "$(missing_optional)" ]; then
        return 0
    fi
    list=$(missing_optional)
    printf '%s\n' "" "Tests that need these packages will be skipped. To install them, run:" "" \
        "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends $(package_names "$list")" ""
}

install_optional() {
    step "Reading Debian's package lists" apt -o Acquire::http::Timeout=10 -o Acquire::Retries=0 update
    for package in $(package_names "$list"); do
        [ "$package" != chromium ] || has_browser_package || { echo "chromium of this system is a snap: not installed"; continue; }
        step "Installing $package" apt -o Acquire::http::Timeout=30 install --yes --no-install-recommends "$package"
    done
}

# Prints a hash of everything that .venv was created from, for the goals of these packages. After a change, pip must run
# again.
fingerprint() {
    { pwd && .venv/bin/python -V && cat requirements-tracing.txt "requirements-$1.txt" && packaging; } 2>&1 | sha256sum
}

is_filled() { [ "$(fingerprint "$1")" = "$(cat ".venv/fingerprint-$1" 2>/dev/null)" ]; }

# Prints the part of pyproject.toml that pip reads. The rest is for linters and tests.
packaging() {
    awk '/^\[/ { counts = !/^\[+tool\.(ruff|mypy|pytest)/ } counts' pyproject.toml
}

venv_is_whole() {
    [ "$(cat .venv/made-in 2>/dev/null)" = "$(pwd)" ] && .venv/bin/python -m pip --version >/dev/null 2>&1
}

make_venv() {
    can_make_venv || die \
        "$python cannot create a virtual environment, because it has no ensurepip." \
        "Install its venv package, or set another interpreter: PYTHON=/usr/bin/python3 make run"
    step "Creating .venv" "$python" -m venv --clear .venv
    pwd >.venv/made-in
}

pip_install() { .venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar=off "$@"; }

fill_venv() {
    # Python compiles a module at its first import. Most modules of these packages are never imported.
    step "Installing the pinned Python packages" \
        pip_install --no-compile -r requirements-tracing.txt -r "requirements-$packages.txt"
    step "Installing stacflask" pip_install --no-deps --no-build-isolation --editable .
    for filled in demo $packages; do fingerprint $filled >.venv/fingerprint-$filled; done
}

announce() {
    [ -e .venv/fingerprint-demo ] ||
        echo "The first start downloads and installs packages. It takes some minutes, on a busy machine ten."
}

trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p .run
# If two commands of a clone start at the same time, the second waits here.
exec 9>.run/bootstrap.lock
flock -n 9 || { echo "Waiting for another bootstrap of this clone ..."; flock 9; }
find_python
if [ -n "$(missing)" ] || ! is_filled $packages; then
    announce
    install_packages
    venv_is_whole || make_venv
    fill_venv
fi
[ "$goal" != tests ] || add_optional
