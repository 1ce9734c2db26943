#!/usr/bin/env bash
# Prints the path of a Chromium, the distribution's; installs it first where there is none and root may. $CHROMIUM names another.
set -euo pipefail

find_it() {
    local name
    for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome; do
        command -v "$name" && return
    done
    return 1
}

if ! find_it; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "no chromium: install it (Debian: apt-get install chromium), or set CHROMIUM to the path of one" >&2
        exit 1
    fi
    echo "no chromium: installing the distribution's" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; } >&2
    find_it || { echo "no chromium after its installation" >&2; exit 1; }
fi
