#!/bin/sh
# Install a lock file into an image's virtual environment: install.sh ENVIRONMENT LOCK [PACKAGE…]
# What the environment has already stays, less the packages named last.
#
# Only wheels, only with hashes: nothing is compiled, nothing unexpected comes in. uv unpacks what is still on its
# way, many wheels at once; it is thrown away afterwards. Bytecode is written now, since the root file system is
# read-only later, and is marked as never to be compared with its source: layers do not keep timestamps reliably.
set -eu
environment=$1 lock=$2
here=$(dirname "$0")
shift 2
if [ -s /run/secrets/ca ]; then
  export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca
fi
installer=$(mktemp -d)
python3.11 -m venv "$installer"
"$installer/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --require-hashes \
  --requirement "$here/uv.txt"
uv() { "$installer/bin/uv" --quiet --no-cache pip "$@" --python "$environment/bin/python"; }
touch "$installer"
[ $# -eq 0 ] || uv uninstall "$@"
# The lock names everything, so nothing is resolved.
uv install --no-deps --only-binary :all: --require-hashes --requirement "$lock"
# Only what is new: bytecode of a layer below would be stored a second time.
# Some packages carry templates that are no valid Python; they are never imported.
find "$environment"/lib/python3.11/site-packages -mindepth 1 -maxdepth 1 -cnewer "$installer" -print0 \
  | xargs -0 python3.11 -m compileall -qq -j 0 --invalidation-mode unchecked-hash || true
rm -rf "$installer"
