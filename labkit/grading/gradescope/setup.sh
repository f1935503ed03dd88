#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image.
set -euo pipefail
root=${AUTOGRADER:-/autograder}
export DEBIAN_FRONTEND=noninteractive

# labkit needs Python 3.11 or newer; the image may come with an older one.
python=
for name in python3.13 python3.12 python3.11 python3; do
  if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
    python=$name
    break
  fi
done
if [ -z "$python" ]; then
  apt-get update
  apt-get install -y --no-install-recommends python3.11 python3.11-venv
  python=python3.11
fi

"$python" -m venv "$root/venv"
cd "$root/source/repo"
"$root/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
"$root/venv/bin/python" -m labkit.cli install @LABS@
chmod -R go= @HIDDEN@ # submissions run as another user
