// Lines 12, 13, 14 and 16 of the checklist, in Node, whose client sends references to objects by itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { BARS, MANY_STEPS, client, complete, finished, ids, picture, upload } from "./stage.mjs";

const us = client();

async function clip() {
  const content = await us.videos.downloadContent((await finished()).id);
  return upload(Buffer.from(await content.arrayBuffer()), "clip.mp4", "video/mp4");
}

async function ends(making, seconds, parent, { rendered = false } = {}) {
  const done = rendered ? await complete(us, making) : await making;
  assert.deepEqual([done.size, done.seconds, done.remixed_from_video_id], [BARS.size, seconds, parent]);
  await us.videos.delete(done.id);
}

test("line 4: an uploaded file is a picture", async () => {
  const file = await us.files.create({ file: await upload(picture("fits.png"), "a.png", "image/png"), purpose: "vision" });
  const made = await us.videos.create({ ...BARS, input_reference: { file_id: file.id } });
  await us.videos.delete(made.id);
  await us.files.delete(file.id);
});

test("line 12: a remix", async () => {
  const { id } = await finished();
  await ends(us.videos.remix(id, { prompt: "stripes" }), "4", id);
});

test("line 13: edit and extend by file, by id, by JSON; not of an unfinished source", async () => {
  const { id } = await finished();
  await ends(us.videos.edit({ prompt: "stripes", video: await clip(), model: BARS.model }), "4", null);
  await ends(us.videos.edit({ prompt: "stripes", video: { id } }), "4", id);
  await ends(us.videos.extend({ prompt: "more bars", seconds: "4", video: { id } }), "8", id, { rendered: true });
  await ends(us.post("/videos/extensions", { body: { prompt: "more bars", seconds: "4", video: { id } } }), "8", id);
  const unfinished = await us.videos.create(MANY_STEPS);
  const video = { id: unfinished.id };
  await assert.rejects(us.videos.edit({ prompt: "stripes", video }), OpenAI.BadRequestError);
  await assert.rejects(us.videos.extend({ prompt: "more bars", seconds: "4", video }), OpenAI.BadRequestError);
  await us.videos.delete(unfinished.id);
});

test("line 14: a character is made, read and used", async () => {
  const made = await us.videos.createCharacter({ name: "Bo", video: await clip() });
  assert.deepEqual([(await us.videos.getCharacter(made.id)).name, made.name], ["Bo", "Bo"]);
  await assert.rejects(client("other").videos.getCharacter(made.id), OpenAI.NotFoundError);
  const video = await us.videos.create({ ...BARS, prompt: "Bo among bars", characters: [{ id: made.id }] });
  await us.videos.delete(video.id);
});

test("line 16: a key replays; without one, a lost answer is recognised; twins are two", async () => {
  const { videos } = client("retrier");
  const once = { headers: { "Idempotency-Key": "node" } };
  const first = await videos.create(MANY_STEPS, once);
  const { data, response } = await videos.create(MANY_STEPS, once).withResponse();
  assert.deepEqual([data.id, response.headers.get("idempotent-replayed")], [first.id, "true"]);
  await assert.rejects(videos.create({ ...MANY_STEPS, prompt: "stripes" }, once), OpenAI.ConflictError);
  let lost = null;
  const losing = client("retrier", { lose: (id) => (lost = id) });
  const found = await losing.videos.create(MANY_STEPS);
  assert.deepEqual([found.id, losing.exchanges.length], [lost, 2]);
  const twins = [await videos.create(MANY_STEPS), await videos.create(MANY_STEPS)].map((twin) => twin.id);
  assert.deepEqual(new Set(await ids(videos.list())), new Set([first.id, lost, ...twins]));
  for (const id of await ids(videos.list())) await videos.delete(id);
});
