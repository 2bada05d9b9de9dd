import assert from "node:assert/strict";
import { test } from "node:test";

import { FirstSound } from "../../../flowmusic/studio/static/first-sound.js";

class Player extends EventTarget {
  takes = { A: null, B: null };
  playing = false;
  done = [];

  load(deck, id) {
    this.takes[deck] = { id };
    this.dispatchEvent(new Event("loaded"));
  }

  activate(deck) {
    this.done.push(deck);
  }

  seek(time) {
    this.done.push(time);
  }

  async play() {
    this.done.push("play");
  }
}

test("the first take of this page's job plays once its sound is there", () => {
  const player = new Player();
  const first = new FirstSound(player);
  first.expect("job", 1.5);
  first.came("job", "one");
  assert.deepEqual(player.done, []);
  player.load("A", "one");
  assert.deepEqual(player.done, ["A", 1.5, "play"]);
  first.came("job", "two");
  player.load("A", "two");
  assert.equal(player.done.length, 3);
});

test("a take that comes before the answer plays, too", () => {
  const player = new Player();
  const first = new FirstSound(player);
  player.load("A", "one");
  first.came("job", "one");
  assert.deepEqual(player.done, []);
  first.expect("job", 0);
  assert.deepEqual(player.done, ["A", 0, "play"]);
});

test("takes of other pages' jobs stay silent, and so does one that comes while something plays", () => {
  const player = new Player();
  const first = new FirstSound(player);
  first.came("other", "one");
  player.load("A", "one");
  player.playing = true;
  first.expect("own", 0);
  first.came("own", "two");
  player.load("A", "two");
  assert.deepEqual(player.done, []);
});
