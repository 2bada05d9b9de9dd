// What a preview of the lanes plays: a list of events in order of time, without any sound in it.

import { beatSeconds, meterOf, round } from "./axis.js";
import { chordPitches, DRUM_ROWS, drumRow } from "./music.js";

/**
 * Events of the lanes named by `roles`: {time, kind, midi, seconds, level}; only what lies in a lane's span.
 * `click` adds the beats.
 * @param {object} session with `lanes`, `use`, `duration`, `bpm`, `beats_per_bar`
 */
export function previewEvents(session, roles, click = false) {
  const events = [];
  const { lanes, use, duration } = session;
  for (const role of roles) {
    const [from, to] = use?.[role]?.span ?? [0, duration];
    for (const item of lanes[role] ?? []) {
      const start = Math.max(item.start ?? item.time, from);
      const end = Math.min(item.end ?? item.time, to);
      if (item.time !== undefined ? item.time < from || item.time >= to : end <= start) continue;
      events.push(...EVENTS[role](item, start, end - start));
    }
  }
  if (click) {
    const meter = meterOf(session);
    const beat = beatSeconds(meter);
    for (let n = 0; n * beat < duration; n += 1) {
      events.push({ time: round(n * beat), kind: "click", level: n % Math.round(meter.beatsPerBar) ? 0.4 : 0.8 });
    }
  }
  return events.sort((a, b) => a.time - b.time);
}

const EVENTS = {
  chords: (item, time, seconds) =>
    chordPitches(item.label).map((midi) => ({ time, kind: "chord", midi, seconds, level: 0.5 })),
  melody: (item, time, seconds) => [
    { time, kind: "melody", midi: item.midi, seconds, level: (item.velocity ?? 100) / 127 },
  ],
  drums: (item) => [
    { time: item.time, kind: DRUM_ROWS[drumRow(item.midi)].name.toLowerCase(), level: (item.velocity ?? 100) / 127 },
  ],
};
