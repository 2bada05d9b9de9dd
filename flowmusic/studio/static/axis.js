// The time axis: seconds on one side, bars and beats on the other. Everything on the page is placed by it.

/** Seconds of one beat. */
export const beatSeconds = ({ bpm }) => 60 / bpm;

/** Seconds of one bar. */
export const barSeconds = (meter) => beatSeconds(meter) * meter.beatsPerBar;

/** The metre of a session, as the other functions take it. */
export const meterOf = (session) => ({ bpm: session.bpm || 120, beatsPerBar: session.beats_per_bar || 4 });

/** Nearest place of the grid; `division` places to a beat (0.25 of a beat where it is 4). */
export function snap(seconds, meter, division = 1) {
  const step = beatSeconds(meter) / division;
  return round(Math.round(seconds / step) * step);
}

/** The place of the grid at or before `seconds`. */
export function snapDown(seconds, meter, division = 1) {
  const step = beatSeconds(meter) / division;
  return round(Math.floor(seconds / step + 1e-6) * step);
}

/** Microseconds are enough, and keep sums of steps from drifting apart. */
export const round = (seconds) => Math.round(seconds * 1e6) / 1e6;

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** "3.2" for the second beat of the third bar; "3.2.50" half a beat later. */
export function barsAndBeats(seconds, meter) {
  const hundredths = Math.round((seconds / beatSeconds(meter)) * 100);
  const perBar = Math.round(meter.beatsPerBar * 100);
  const bar = Math.floor(hundredths / perBar);
  const within = hundredths - bar * perBar;
  const beat = Math.floor(within / 100);
  const rest = within % 100;
  return `${bar + 1}.${beat + 1}${rest ? "." + String(rest).padStart(2, "0") : ""}`;
}

/** "1:05.3" */
export function clock(seconds) {
  const tenths = Math.max(0, Math.floor(seconds * 10 + 1e-6));
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

/** Bars in so many seconds; a number with a fraction where the end is inside a bar. */
export const barsIn = (seconds, meter) => round(seconds / barSeconds(meter));

/** How many bars apart the ruler's numbers stand, so that each has `room` pixels. */
export function barsBetweenNumbers(meter, pixelsPerSecond, room = 36) {
  const bar = barSeconds(meter) * pixelsPerSecond;
  let step = 1;
  while (bar * step < room) step *= 2;
  return step;
}

/**
 * The seconds that are to be drawn where `left` to `right` are in view: a screen more on both sides, in steps of
 * half a screen, so that it changes seldom while the view moves.
 */
export function drawnPart(left, right) {
  const step = Math.max((right - left) / 2, 1e-3);
  return [round((Math.floor(left / step) - 2) * step), round((Math.ceil(right / step) + 2) * step)];
}

/** All lanes with their times multiplied: what a change of tempo does to music that is counted in bars. */
export function stretch(lanes, factor) {
  const times = ["start", "end", "time"];
  const moved = (item) =>
    Object.fromEntries(
      Object.entries(item).map(([key, value]) => [key, times.includes(key) ? round(value * factor) : value]),
    );
  return Object.fromEntries(Object.entries(lanes).map(([role, items]) => [role, items.map(moved)]));
}
