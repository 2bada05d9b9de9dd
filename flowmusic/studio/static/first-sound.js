// A take that was asked for on this page plays as soon as it is there, unless something plays already.

export class FirstSound {
  #jobs = new Map(); // of this page: where each one's take is to begin, in seconds
  #take = null;
  #from = 0;

  constructor(player) {
    this.player = player;
    player.addEventListener("loaded", () => this.#play());
  }

  /** A job of this page, whose last take is to be heard from a time on. */
  expect(job, from) {
    this.#jobs.set(job, from);
  }

  /** News of any job. */
  job({ id, state, takes }) {
    if (!this.#jobs.has(id) || !["done", "failed", "cancelled"].includes(state)) return;
    [this.#take, this.#from] = [takes.at(-1) ?? null, this.#jobs.get(id)];
    this.#jobs.delete(id);
    this.#play();
  }

  /** Plays the take once it is on a deck, whichever comes first: the news of it, or its sound. */
  #play() {
    const deck = Object.keys(this.player.takes).find((name) => this.player.takes[name]?.id === this.#take);
    if (this.#take === null || deck === undefined) return;
    this.#take = null;
    if (this.player.playing) return;
    this.player.activate(deck);
    this.player.seek(this.#from);
    this.player.play().catch(() => {}); // a browser that lets nothing play without a press
  }
}
