#!/bin/sh
# On Linux and macOS: ./train_v1.sh, with arguments or without. Goes on in scripts/launch.sh.
exec sh "$(dirname -- "$0")/scripts/launch.sh" train_v1 "$@"
