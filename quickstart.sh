#!/bin/sh
# On Linux and macOS: ./quickstart.sh, with arguments or without. Goes on in scripts/launch.sh.
exec sh "$(dirname -- "$0")/scripts/launch.sh" quickstart "$@"
