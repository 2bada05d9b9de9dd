// The state of the page: the server's session, what only this tab knows, and the way back.
//
// An edit is a patch of the session: shown at once, sent a moment later (edits that come together are one
// request), and undone by the patch that puts back what it replaced.

/** `base` with `patch` in it; objects are merged, everything else, lists too, is replaced. */
export function merge(base, patch) {
  const result = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    result[key] = isObject(value) && isObject(base?.[key]) ? merge(base[key], value) : value;
  }
  return result;
}

/** The patch that undoes `patch` on `base`: the same places, with what stands there now. */
export function inverse(base, patch) {
  const result = {};
  for (const [key, value] of Object.entries(patch)) {
    result[key] = isObject(value) && isObject(base?.[key]) ? inverse(base[key], value) : (base?.[key] ?? null);
  }
  return result;
}

/** `after`, with the parts of `before` that are equal in their place: who watches those sees no change. */
export function sharing(before, after) {
  if (before === after || typeof before !== "object" || typeof after !== "object" || !before || !after) return after;
  if (Array.isArray(before) !== Array.isArray(after)) return after;
  const result = Array.isArray(after) ? after.map((item, i) => sharing(before[i], item)) : {};
  if (!Array.isArray(after)) for (const key of Object.keys(after)) result[key] = sharing(before[key], after[key]);
  const keys = Object.keys(result);
  const equal = keys.length === Object.keys(before).length && keys.every((key) => key in before && result[key] === before[key]);
  return equal ? before : result;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const same = (a, b) =>
  a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => item === b[i]));

/** Commands that were done, and those that were taken back. */
export class History {
  #done = [];
  #undone = [];

  /** @param {{label: string, undo: () => void, redo: () => void}} command one that has been done already */
  add(command) {
    this.#done.push(command);
    if (this.#done.length > 200) this.#done.shift();
    this.#undone = [];
  }

  undo() {
    const command = this.#done.pop();
    if (command) this.#undone.push(command);
    command?.undo();
    return command?.label;
  }

  redo() {
    const command = this.#undone.pop();
    if (command) this.#done.push(command);
    command?.redo();
    return command?.label;
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }
}

export class Store {
  #watchers = [];
  #pending = null;
  #timer = null;
  #sending = null;
  #stale = false;

  /**
   * @param {object} state first state: {session, about, ui, jobs}
   * @param {(patch: object) => Promise<object>} save sends a patch; answers the new session
   * @param {() => Promise<object>} load fetches the session
   * @param {(error: Error) => void} refused is told where a patch was refused
   */
  constructor(state, save, load, refused, delay = 200) {
    this.state = state;
    this.history = new History();
    this.save = save;
    this.load = load;
    this.refused = refused;
    this.delay = delay;
  }

  /** Calls `apply(value, before)` now and whenever what `select` picks has changed. */
  watch(select, apply) {
    const watcher = { select, apply, value: select(this.state) };
    this.#watchers.push(watcher);
    apply(watcher.value, undefined);
  }

  /** Replaces parts of the state and tells who watches them. */
  set(parts) {
    this.state = { ...this.state, ...parts };
    for (const watcher of this.#watchers) {
      const value = watcher.select(this.state);
      if (same(value, watcher.value)) continue;
      const before = watcher.value;
      watcher.value = value;
      watcher.apply(value, before);
    }
  }

  /** What only this tab knows: selection, zoom, decks. */
  ui(parts) {
    this.set({ ui: { ...this.state.ui, ...parts } });
  }

  /** An edit of the session that can be undone. */
  edit(patch, label) {
    const back = inverse(this.state.session, patch);
    this.#apply(patch);
    this.command({ label, undo: () => this.#apply(back), redo: () => this.#apply(patch) });
  }

  /** Something that has been done and can be undone. */
  command(command) {
    this.history.add(command);
    this.#historyChanged();
  }

  /** A change of the session that is no edit, such as which take is selected. */
  note(patch) {
    this.#apply(patch);
  }

  undo() {
    const label = this.history.undo();
    this.#historyChanged();
    return label;
  }

  redo() {
    const label = this.history.redo();
    this.#historyChanged();
    return label;
  }

  /** The server says that the session is at a revision: fetch it, unless this tab is about to write. */
  async revised(revision) {
    if (revision <= this.state.session.revision) return;
    if (this.#pending || this.#sending) {
      this.#stale = true;
      return;
    }
    const session = await this.load().catch(() => null);
    if (session && !this.#pending && !this.#sending) this.#receive(session);
  }

  /** Sends what waits, now; resolves when the server has it. */
  async flush() {
    clearTimeout(this.#timer);
    if (this.#sending) await this.#sending;
    if (!this.#pending) return;
    const patch = this.#pending;
    this.#pending = null;
    this.#sending = this.save(patch)
      .then((session) => {
        this.#receive(this.#pending ? merge(session, this.#pending) : session);
      })
      .catch(async (error) => {
        this.refused(error);
        const session = await this.load().catch(() => null);
        if (session) this.#receive(session);
      })
      .finally(() => {
        this.#sending = null;
      });
    await this.#sending;
    if (this.#pending) return this.flush();
    if (this.#stale) {
      this.#stale = false;
      await this.revised(Infinity);
    }
  }

  #receive(session) {
    this.set({ session: sharing(this.state.session, session) });
  }

  #historyChanged() {
    this.set({ historyVersion: (this.state.historyVersion ?? 0) + 1 });
  }

  #apply(patch) {
    this.#pending = merge(this.#pending ?? {}, patch);
    this.set({ session: merge(this.state.session, patch) });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), this.delay);
  }
}
