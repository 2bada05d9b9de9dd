#!/bin/sh
# Installs FluidSynth's library, which renders scores to audio, where it is missing and this user may.
set -eu
PATH="$PATH:/sbin:/usr/sbin"
if ldconfig -p 2>/dev/null | grep -q 'libfluidsynth\.so'; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "FluidSynth's library is not found: the tests that render scores will say so." >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    run=""
elif sudo -n true 2>/dev/null; then
    run="sudo"
else
    echo "FluidSynth's library is not found. To run the tests that render scores: sudo apt install libfluidsynth3" >&2
    exit 0
fi
$run apt-get update -qq || echo "apt-get update failed; going on with the package lists at hand" >&2
$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libfluidsynth3 >/dev/null
