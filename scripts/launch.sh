#!/bin/sh
# Finds a Python by running it, and hands over to launch.py: launch.sh NAME [arguments].
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 2
export PYTHONUTF8=1
for python in python3.13 python3.12 python3.11 python3 python "$here/../.venv/bin/python"; do
  case $("$python" "$here/launch_parts/this_python.py" 2>/dev/null </dev/null) in
    PYTHON=*) exec "$python" "$here/launch.py" "$@" ;;
  esac
done
cat "$here/no_python.txt" >&2
exit 2
