#!/bin/sh
# Make a development environment: a virtual environment with the locked versions, by uv.
# Needs Python 3.11 or newer and nothing else; `tools/bootstrap.sh FOLDER [LOCK]`.
set -eu
venv=$1
lock=${2:-requirements/dev.txt}
python=${PYTHON:-python3}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
started=$(date +%s)

fail() {
    echo "$1" >&2
    exit 1
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "mlpools needs Python 3.11 or newer; $python is $("$python" -V 2>&1 || true). Name another: make PYTHON=python3.12 …"
echo "  · installing the development environment ($lock) …"
if ! "$python" -m venv "$venv" >"$log" 2>&1; then
    # Debian keeps venv in a package of its own.
    rm -rf "$venv"
    version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    apt-get install -y --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 "$version" >"$log" 2>&1 &&
        "$python" -m venv "$venv" >"$log" 2>&1 ||
        fail "Could not make a virtual environment: $(tail -n 1 "$log") Install $version and try again."
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt >"$log" 2>&1 &&
    "$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --allow-empty-requirements --require-hashes "$lock" >"$log" 2>&1 &&
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable . >"$log" 2>&1 ||
    fail "Could not install the locked packages: $(grep -v '^ *$' "$log" | tail -n 1)"
touch "$venv/ready"
echo "  ✓ installed the development environment ($(($(date +%s) - started)) s)"
