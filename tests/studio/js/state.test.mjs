import assert from "node:assert/strict";
import test from "node:test";

import { tempoPatch } from "../../../flowmusic/studio/static/ask.js";
import { meaning } from "../../../flowmusic/studio/static/keys.js";
import { matchedVolumes } from "../../../flowmusic/studio/static/levels.js";
import { fieldValue, formFields } from "../../../flowmusic/studio/static/settings.js";
import { inverse, merge, sharing, Store } from "../../../flowmusic/studio/static/store.js";
import { shown, totalSeconds } from "../../../flowmusic/studio/static/takes.js";
import { encodeWav } from "../../../flowmusic/studio/static/wav.js";

const fresh = () => ({ revision: 0, bpm: 120, lanes: { chords: [1], drums: [2] }, use: { chords: { mute: false, span: null } } });

/** A server that merges as the real one does. */
function served(session = fresh()) {
  const server = { session, patches: [] };
  server.save = async (patch) => {
    server.patches.push(patch);
    server.session = { ...merge(server.session, patch), revision: server.session.revision + 1 };
    return server.session;
  };
  server.store = new Store({ session, ui: {} }, server.save, async () => server.session, () => {}, 1);
  return server;
}

test("the inverse of a patch puts back what was there", () => {
  const patch = { bpm: 90, lanes: { chords: [] }, use: { chords: { span: [0, 2] } } };
  assert.deepEqual(merge(merge(fresh(), patch), inverse(fresh(), patch)), fresh());
});

test("edits are shown at once, sent together, and undone", async () => {
  const { store, patches, ...rest } = served();
  void rest;
  store.edit({ bpm: 90 }, "tempo");
  store.edit({ lanes: { chords: [] } }, "clearing");
  assert.equal(store.state.session.bpm, 90);
  await store.flush();
  assert.deepEqual(patches, [{ bpm: 90, lanes: { chords: [] } }]);
  assert.equal(store.undo(), "clearing");
  assert.deepEqual(store.state.session.lanes.chords, [1]);
  assert.equal(store.redo(), "clearing");
  store.undo();
  store.undo();
  assert.equal(store.undo(), undefined);
  await store.flush();
  assert.equal(store.state.session.bpm, 120);
  assert.equal(store.state.session.revision, 2);
});

test("an edit that is refused goes away again, and its sentence is said", async () => {
  const said = [];
  const save = async () => {
    throw new Error("bpm must be at most 400");
  };
  const store = new Store({ session: fresh(), ui: {} }, save, async () => fresh(), (error) => said.push(error.message), 1);
  store.edit({ bpm: 900 }, "tempo");
  await store.flush();
  assert.deepEqual(said, ["bpm must be at most 400"]);
  assert.equal(store.state.session.bpm, 120);
});

test("another tab's edit arrives, but never over an edit that is on its way", async () => {
  const server = served();
  const { store } = server;
  server.session = { ...server.session, bpm: 100, revision: 5 };
  await store.revised(5);
  assert.equal(store.state.session.bpm, 100);
  store.edit({ bpm: 90 }, "tempo");
  server.session = { ...server.session, lanes: { chords: [7] }, revision: 6 };
  await store.revised(6);
  assert.equal(store.state.session.bpm, 90);
  await store.flush();
  assert.equal(store.state.session.bpm, 90);
  assert.deepEqual(store.state.session.lanes.chords, [7]);
});

test("what the server gives back equal is the same object", () => {
  const before = fresh();
  assert.equal(sharing(before, fresh()), before);
  const after = sharing(before, { ...fresh(), bpm: 90, lanes: { chords: [1], drums: [3] } });
  assert.equal(after.lanes.chords, before.lanes.chords);
  assert.equal(after.use, before.use);
  assert.deepEqual([after.bpm, after.lanes.drums], [90, [3]]);
  assert.deepEqual(sharing({ a: 1, b: 2 }, { a: 1 }), { a: 1 });
  assert.deepEqual(sharing([1, 2], [1]), [1]);
});

test("watchers hear only of what they watch", () => {
  const { store } = served();
  const seen = [];
  store.watch((state) => [state.session.bpm], ([bpm]) => seen.push(bpm));
  store.ui({ zoom: 2 });
  store.edit({ bpm: 90 }, "tempo");
  assert.deepEqual(seen, [120, 90]);
});

test("another tempo keeps the bars", () => {
  const session = {
    duration: 8, bpm: 120, beats_per_bar: 4, use: { chords: { span: [2, 4] }, drums: { source: "upload" } },
    lanes: { chords: [{ start: 2, end: 4, label: "C" }], melody: [], drums: [{ time: 1, midi: 36 }] },
  }; // prettier-ignore
  assert.deepEqual(tempoPatch(session, 60, 4), {
    bpm: 60, beats_per_bar: 4, duration: 16, lanes: { chords: [{ start: 4, end: 8, label: "C" }] }, use: { chords: { span: [4, 8] } },
  }); // prettier-ignore
  assert.deepEqual(tempoPatch(session, 120, 3), { bpm: 120, beats_per_bar: 3, duration: 6 });
});

test("levels are matched by turning the louder down", () => {
  const [a, b] = matchedVolumes([-14, -20]);
  assert.equal(b, 1);
  assert.ok(Math.abs(20 * Math.log10(a) + 6) < 1e-9);
  assert.deepEqual(matchedVolumes([-14, null]), [1, 1]);
});

test("a form is made from the schema, without files and what stands elsewhere", () => {
  const number = { anyOf: [{ type: "integer", minimum: 1, maximum: 1000 }, { type: "null" }], default: null };
  const schema = { properties: {
    text: { type: "string", group: "what to follow" },
    drums: { anyOf: [{}, { type: "null" }], group: "what to follow" },
    steps: { ...number, description: "steps of the solver", group: "how" },
    strength: { ...number, group: "sound that exists" },
    loop: { type: "boolean", default: false, group: "sound that exists" },
  } }; // prettier-ignore
  const fields = formFields(schema, { steps: 10 });
  assert.deepEqual(fields.map(({ name }) => name), ["steps", "loop"]);
  assert.deepEqual([fields[0].least, fields[0].most, fields[0].fallback, fields[0].help], [1, 1000, 10, "steps of the solver"]);
  assert.deepEqual([fieldValue("integer", "12"), fieldValue("number", " "), fieldValue("string", "3"), fieldValue("boolean", true)], [12, null, "3", true]);
});

test("keys mean nothing in fields, and Space presses a button that has the focus", () => {
  const key = (name, more = {}) => ({ key: name, ...more });
  assert.equal(meaning(key(" "), false, false), "play");
  assert.equal(meaning(key(" "), false, true), null);
  assert.equal(meaning(key("a"), true, false), null);
  assert.equal(meaning(key("z", { ctrlKey: true }), false, false), "undo");
  assert.equal(meaning(key("Z", { metaKey: true, shiftKey: true }), false, false), "redo");
  assert.equal(meaning(key("ArrowRight", { shiftKey: true }), false, false), "bar on");
});

test("takes: those with a star first, deleted ones not", () => {
  const take = (id, star, created, deleted = false) => ({ id, star, created, deleted });
  assert.deepEqual(shown([take(1, false, 5), take(2, true, 1), take(3, false, 9), take(4, true, 9, true)]).map(({ id }) => id), [2, 3, 1]);
  assert.equal(totalSeconds({ solving: 1.5, decoding: 0.5 }), 2);
});

test("a WAV file holds its samples", () => {
  const view = new DataView(encodeWav(Float32Array.of(0, 1, -1, 2), 48000));
  assert.equal(view.byteLength, 52);
  assert.equal(view.getUint32(24, true), 48000);
  assert.deepEqual([0, 1, 2, 3].map((i) => view.getInt16(44 + 2 * i, true)), [0, 32767, -32767, 32767]);
});
