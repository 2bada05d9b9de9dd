// Loudness of two takes side by side.

/**
 * Volumes (0..1) that make takes equally loud: the loudest are turned down to the quietest, since no player
 * goes above 1. A take whose loudness (LUFS) is not known, or that is silent, stays as it is.
 */
export function matchedVolumes(loudnesses) {
  const known = loudnesses.filter(audible);
  const quietest = Math.min(...known);
  return loudnesses.map((value) => (audible(value) ? 10 ** ((quietest - value) / 20) : 1));
}

const audible = (value) => typeof value === "number" && value > -60;
