// What a longer clip does to the lanes: the new bars repeat those beside them.

import { round } from "./axis.js";
import { ROLES } from "./roles.js";

const shifted = (item, seconds) =>
  item.time === undefined
    ? { ...item, start: round(item.start + seconds), end: round(item.end + seconds) }
    : { ...item, time: round(item.time + seconds) };

/** Items with what of them lies in [from, to), cut there. */
function within(items, from, to) {
  return items.flatMap((item) => {
    if (item.time !== undefined) return item.time >= from - 1e-6 && item.time < to - 1e-6 ? [item] : [];
    const cut = { ...item, start: Math.max(item.start, from), end: Math.min(item.end, to) };
    return cut.end - cut.start > 1e-3 ? [cut] : [];
  });
}

/**
 * The patch for a clip that goes on for so many seconds, or, with `before`, begins so much earlier. The lanes go
 * with their music, and the last (first) seconds of them are repeated in the new part.
 */
export function extensionPatch(session, seconds, before = false) {
  const { duration } = session;
  const lanes = {};
  const use = {};
  for (const role of ROLES) {
    const items = within(session.lanes[role] ?? [], 0, duration);
    if (!items.length) continue;
    const moved = before ? items.map((item) => shifted(item, seconds)) : items;
    const copies = before
      ? within(items, 0, seconds)
      : within(items, duration - seconds, duration).map((item) => shifted(item, seconds));
    lanes[role] = before ? [...copies, ...moved] : [...moved, ...copies];
    const span = session.use?.[role]?.span;
    use[role] = { source: null, ...(before && span ? { span: span.map((edge) => round(edge + seconds)) } : {}) };
  }
  return { duration: round(duration + seconds), lanes, use };
}
