// The first take of a job that was started on this page plays as soon as its sound is there.

const KEPT = 16;

export class FirstSound {
  #expected = new Map(); // jobs of this page: where their take is to begin, in seconds
  #came = new Map(); // jobs of any page: their first take
  #take = null;
  #from = 0;

  constructor(player) {
    this.player = player;
    player.addEventListener("loaded", () => this.#play());
  }

  /** A job of this page, whose first take is to be heard from a time on. */
  expect(job, from) {
    this.#expected.set(job, from);
    this.#look(job);
  }

  /** A take of a job; it may come before the answer that names the job. */
  came(job, take) {
    if (this.#came.has(job)) return;
    this.#came.set(job, take);
    if (this.#came.size > KEPT) this.#came.delete(this.#came.keys().next().value);
    this.#look(job);
  }

  #look(job) {
    if (!this.#expected.has(job) || !this.#came.has(job)) return;
    [this.#take, this.#from] = [this.#came.get(job), this.#expected.get(job)];
    this.#expected.delete(job);
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
