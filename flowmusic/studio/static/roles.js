// The lanes, in the order of the page.

export const ROLES = ["chords", "melody", "drums"];
