#!/bin/sh
# Installs what renders scores to audio, where it is missing and this user may.
set -eu
wanted=""
ldconfig -p 2>/dev/null | grep -q 'libfluidsynth\.so' || wanted="$wanted libfluidsynth3"
[ -f /usr/share/sounds/sf2/TimGM6mb.sf2 ] || wanted="$wanted timgm6mb-soundfont"
[ -n "$wanted" ] || exit 0

command -v apt-get >/dev/null || {
    echo "Not found: FluidSynth's library or the soundfont TimGM6mb; the tests that render scores will be skipped." >&2
    exit 0
}
if [ "$(id -u)" = 0 ]; then
    run=""
elif sudo -n true 2>/dev/null; then
    run="sudo"
else
    echo "Not found:$wanted. To run the tests that render scores: sudo apt install$wanted" >&2
    exit 0
fi
$run apt-get update -qq || echo "apt-get update failed; going on with the lists at hand" >&2
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $wanted >/dev/null
