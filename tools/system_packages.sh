#!/bin/sh
# Installs what the tests use and pip does not bring, where it is missing and this user may: FluidSynth's library,
# which renders scores to audio, and Chromium, in which the studio's page is tried.
set -eu
PATH="$PATH:/sbin:/usr/sbin"
wanted=""
if ! ldconfig -p 2>/dev/null | grep -q 'libfluidsynth\.so'; then
    wanted="libfluidsynth3"
fi
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    wanted="$wanted chromium"
fi
if [ -z "$wanted" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "Not found: $wanted. The tests that need them will say so." >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    run=""
elif sudo -n true 2>/dev/null; then
    run="sudo"
else
    echo "Not found: $wanted. To run the tests that need them: sudo apt install $wanted" >&2
    exit 0
fi
$run apt-get update -qq || echo "apt-get update failed; going on with the package lists at hand" >&2
# shellcheck disable=SC2086 # words of a list
$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null
