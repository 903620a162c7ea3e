#!/bin/sh
# Install a lock file into an image's virtual environment: install.sh ENVIRONMENT LOCK
#
# Only wheels, only with hashes: nothing is compiled, nothing unexpected comes in. pip is thrown away
# afterwards. Bytecode is written now, since the root file system is read-only later, and is marked as
# never to be compared with its source: layers do not keep timestamps reliably.
set -eu
environment=$1 lock=$2
if [ -s /run/secrets/ca ]; then
  export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca
fi
installer=$(mktemp -d)
python3.11 -m venv "$installer"
"$installer/bin/pip" --quiet --disable-pip-version-check --python "$environment/bin/python" \
  install --no-cache-dir --no-compile --only-binary :all: --require-hashes --requirement "$lock"
rm -rf "$installer"
# Some packages carry templates that are no valid Python; they are never imported.
python3.11 -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$environment/lib" || true
