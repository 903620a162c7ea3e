#!/bin/sh
# Install a lock file into an image's virtual environment: install.sh ENVIRONMENT LOCK [PACKAGE…]
# What the environment has already stays, less the packages named last.
#
# Only wheels, only with hashes: nothing is compiled, nothing unexpected comes in. pip is thrown away
# afterwards. Bytecode is written now, since the root file system is read-only later, and is marked as
# never to be compared with its source: layers do not keep timestamps reliably.
set -eu
environment=$1 lock=$2
shift 2
if [ -s /run/secrets/ca ]; then
  export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca
fi
installer=$(mktemp -d)
python3.11 -m venv "$installer"
pip() { "$installer/bin/pip" --quiet --disable-pip-version-check --python "$environment/bin/python" "$@"; }
touch "$installer"
[ $# -eq 0 ] || pip uninstall --yes "$@"
# The lock names everything, so nothing is resolved.
pip install --no-deps --no-cache-dir --no-compile --only-binary :all: --require-hashes --requirement "$lock"
# Only what is new: bytecode of a layer below would be stored a second time.
# Some packages carry templates that are no valid Python; they are never imported.
find "$environment"/lib/python3.11/site-packages -mindepth 1 -maxdepth 1 -cnewer "$installer" -print0 \
  | xargs -0 python3.11 -m compileall -qq -j 0 --invalidation-mode unchecked-hash || true
rm -rf "$installer"
