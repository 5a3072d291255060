#!/bin/sh
# Makes this clone ready: first the Debian packages it needs, then .venv from the pinned requirements.
# `make run`, `make test` and `make lint` call it every time; with nothing to do it only compares a stamp.
# PYTHON names another interpreter than python3. The word "tests" brings what only tests need, too.
set -eu
cd "$(dirname "$0")/.."

log=.run/bootstrap.log
hold=/etc/postgresql-common/createcluster.d/stacflask.conf
policy=/usr/sbin/policy-rc.d
as_root=

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# step WHAT COMMAND...: runs the command with its output in the log, and shows the time it takes meanwhile.
step() {
    what=$1
    shift
    [ -t 1 ] || echo "$what ..."
    began=$(date +%s)
    shown=0
    "$@" >"$log" 2>&1 </dev/null &
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        show_progress
        sleep 0.3
    done
    [ ! -t 1 ] || printf '\r\033[K'
    wait "$job" || { tail -n 30 "$log" >&2; die "" "Failed: $what. The last lines it wrote stand above, all of them in $log."; }
    job=
    echo "$what: done in $(($(date +%s) - began)) s"
}

show_progress() {
    elapsed=$(($(date +%s) - began))
    if [ -t 1 ]; then
        printf '\r\033[K%s ... %s s  %.60s' "$what" "$elapsed" "$(last_line)"
    elif [ "$elapsed" -ge $((shown + 10)) ]; then
        shown=$elapsed
        printf '  %s s  %.100s\n' "$elapsed" "$(last_line)"
    fi
}

last_line() { tail -n 1 "$log" | LC_ALL=C tr -cd '[:print:]'; }

find_python() {
    for python in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
    done
    die "stacflask needs Python 3.11 or newer, and found none. Install one, or name it: PYTHON=/path/to/python3 make run"
}

# Is there a PostgreSQL whose own PostGIS is installed? A pg_ctl on the PATH proves nothing.
has_postgis() {
    for control in /usr/share/postgresql/*/extension/postgis.control; do
        major=${control#/usr/share/postgresql/}
        if [ -x "/usr/lib/postgresql/${major%%/*}/bin/postgres" ] && [ -e "$control" ]; then return 0; fi
    done
    return 1
}

has_pooler() { [ -x /usr/sbin/pgbouncer ]; }

# The PostGIS of a server that is already here, where Debian has it; else the distribution's own pair.
postgis_package() {
    for postgres in $(ls -rv /usr/lib/postgresql/*/bin/postgres 2>/dev/null); do
        major=${postgres#/usr/lib/postgresql/}
        package="postgresql-${major%%/*}-postgis-3"
        if [ -n "$(apt-cache show "$package" 2>/dev/null)" ]; then echo "$package"; return; fi
    done
    echo postgresql-postgis
}

# missing: one line a package that is not here, with the reason for it.
missing() {
    has_postgis || echo "$(postgis_package)  PostgreSQL with PostGIS, where the catalogue is kept"
    command -v curl >/dev/null || echo "curl  for the commands to try"
    command -v wget >/dev/null || echo "wget  a client the tests download with"
    has_pooler || echo "pgbouncer  a pooler that the tests put before PostgreSQL"
    [ -x .venv/bin/python ] || can_make_venv || ! is_debians ||
        echo "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv  makes .venv"
}

can_make_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

# Debian's packages serve its own Python, and no other.
is_debians() {
    case $(command -v "$python") in
        /usr/bin/*) return 0 ;;
        *) return 1 ;;
    esac
}

names() { printf '%s\n' "$1" | sed 's/  .*//' | tr '\n' ' '; }

may_install() {
    [ "$(id -u)" -ne 0 ] || return 0
    as_root="sudo -n"
    sudo -n true 2>/dev/null
}

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -o DPkg::Lock::Timeout=300 "$@"
}

# Debian would start system-wide servers along with the packages: ours are private, so nothing is to start.
hold_system_servers() {
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
    command -v apt-get >/dev/null || die "Missing here, and this is no Debian or Ubuntu, so please install it yourself:" "$list"
    echo "Missing Debian packages, and what each is for:"
    printf '%s\n' "$list" | sed 's/^/  /'
    may_install || die "Only root may install them. Please type:" "" \
        "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends $(names "$list")" ""
    step "Reading Debian's package lists" apt update
    hold_system_servers
    # The lists just read may name another package than the ones before.
    # shellcheck disable=SC2046
    step "Installing Debian packages" apt install --yes --no-install-recommends $(names "$(missing)")
    list=$(missing)
    [ -z "$list" ] || die "Still missing after the installation:" "$list"
}

has_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

# extras: one line a package that only some tests need. Where it cannot be had they are skipped, and that is said.
extras() {
    command -v aria2c >/dev/null || echo "aria2  a client that downloads lists"
    [ "${BROWSER:-}" = no ] || has_browser || echo "chromium  a browser, which is big (BROWSER=no: without it)"
}

want_extras() {
    list=$(extras)
    [ -n "$list" ] || return 0
    echo "Missing Debian packages, for some of the tests only, and what each is:"
    printf '%s\n' "$list" | sed 's/^/  /'
    if command -v apt-get >/dev/null && may_install && (install_extras) && [ -z "$(extras)" ]; then return 0; fi
    printf '%s\n' "" "The tests that need these will be skipped. To have them, please type:" "" \
        "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends $(names "$(extras)")" ""
}

install_extras() {
    step "Reading Debian's package lists" apt -o Acquire::http::Timeout=10 -o Acquire::Retries=0 update
    for package in $(names "$list"); do
        step "Installing $package" apt -o Acquire::http::Timeout=30 install --yes --no-install-recommends "$package"
    done
}

# What .venv was made from: any change of it means another look by pip.
fingerprint() {
    { pwd && .venv/bin/python -V && cat requirements.txt requirements-dev.txt && packaging; } 2>&1 | sha256sum
}

# What pip reads in pyproject.toml; the rest is for linters and tests.
packaging() {
    awk '/^\[/ { counts = !/^\[+tool\.(ruff|mypy|pytest)/ } counts' pyproject.toml
}

venv_is_whole() {
    [ "$(cat .venv/made-in 2>/dev/null)" = "$(pwd)" ] && .venv/bin/python -m pip --version >/dev/null 2>&1
}

make_venv() {
    can_make_venv || die \
        "$python can make no virtual environment: it lacks ensurepip." \
        "Install its venv package, or name another interpreter: PYTHON=/usr/bin/python3 make run"
    step "Making .venv" "$python" -m venv --clear .venv
    pwd >.venv/made-in
}

pip_install() { .venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar=off "$@"; }

fill_venv() {
    step "Installing the pinned Python packages" pip_install -r requirements.txt -r requirements-dev.txt
    step "Installing stacflask itself" pip_install --no-deps --editable .
    fingerprint >.venv/fingerprint
}

trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p .run
# Two commands of one clone may start together: the second waits here.
exec 9>.run/bootstrap.lock
flock -n 9 || { echo "Waiting for another bootstrap of this clone ..."; flock 9; }
if ! { has_postgis && has_pooler && [ "$(fingerprint)" = "$(cat .venv/fingerprint 2>/dev/null)" ]; }; then
    find_python
    install_packages
    venv_is_whole || make_venv
    fill_venv
fi
[ "${1:-}" != tests ] || want_extras
