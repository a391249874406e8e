// Lines 1 to 3, 5 to 11, 15 and 17 of the checklist, in Node.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { BARS, MANY_STEPS, REFUSED_LATER, client, complete, facts, finished, ids, picture, poll, upload } from "./stage.mjs";

test("line 1: a prompt is enough, and goes as multipart", async () => {
  const us = client();
  const made = await us.videos.create({ prompt: "bars" });
  assert.match(us.exchanges[0].sent.get("content-type") ?? "multipart/form-data", /^multipart\/form-data/);
  assert.deepEqual([made.object, made.status, made.model, made.seconds, made.size], ["video", "queued", "sora-2", "4", "720x1280"]);
  assert.ok((await us.videos.delete(made.id)).deleted);
});

test("line 2: all fields, and ours beside them", async () => {
  const us = client();
  const extras = { seed: 7, steps: 4, guidance: 1.5, metadata: { order: "17" } };
  const made = await us.videos.create({ ...BARS, ...extras });
  assert.deepEqual([made.seed, made.metadata, made.size], [7, { order: "17" }, BARS.size]);
  await us.videos.delete(made.id);
});

test("line 3: a picture begins the video, one of another size does not", async () => {
  const us = client();
  const file = await upload(picture("fits.png"), "first.png", "image/png");
  const done = await complete(us, us.videos.create({ ...BARS, input_reference: file }));
  await us.videos.delete(done.id);
  const other = await upload(picture("other.png"), "first.png", "image/png");
  await assert.rejects(us.videos.create({ ...BARS, input_reference: other }), OpenAI.BadRequestError);
});

test("line 4: a data URL is sent by the client itself", async () => {
  const us = client();
  const image_url = `data:image/png;base64,${picture("fits.png").toString("base64")}`;
  const done = await complete(us, us.videos.create({ ...BARS, input_reference: { image_url } }));
  await us.videos.delete(done.id);
});

test("line 5: a JSON body says the same", async () => {
  const us = client();
  const made = await us.post("/videos", { body: { ...BARS, seconds: 4, seed: 7 } });
  assert.deepEqual([made.seed, made.seconds], [7, "4"]);
  await us.videos.delete(made.id);
});

test("line 6: a video completes, polled as its header asks", async () => {
  const us = client();
  const done = await complete(us, us.videos.create(BARS));
  assert.deepEqual([done.progress, typeof done.completed_at], [100, "number"]);
  await us.videos.delete(done.id);
});

test("line 7: a failed video says why", async () => {
  const us = client();
  const failed = await poll(us, (await us.videos.create({ ...BARS, prompt: REFUSED_LATER })).id);
  assert.deepEqual([failed.status, failed.error.code], ["failed", "moderation_blocked"]);
  await us.videos.delete(failed.id);
});

test("line 8: lists page by themselves", async () => {
  const us = client("lister");
  const made = [];
  for (let n = 0; n < 5; n += 1) made.push((await us.videos.create(MANY_STEPS)).id);
  assert.deepEqual(await ids(us.videos.list({ limit: 2 })), made.toReversed());
  assert.deepEqual(await ids(us.videos.list({ order: "asc" })), made);
  const page = await us.videos.list({ limit: 2, after: made[3] });
  assert.deepEqual([page.data.map((video) => video.id), page.has_more], [[made[2], made[1]], true]);
  assert.ok(!(await ids(client("other").videos.list())).some((id) => made.includes(id)));
  for (const id of made) await us.videos.delete(id);
});

test("line 9: another tenant's video does not exist", async () => {
  const { id } = await finished();
  const { videos } = client("other");
  const calls = [() => videos.retrieve(id), () => videos.delete(id), () => videos.downloadContent(id)];
  for (const call of [...calls, () => videos.remix(id, { prompt: "x" })]) await assert.rejects(call, OpenAI.NotFoundError);
});

test("line 10: a video is deleted in every state, once", async () => {
  const us = client("deleter");
  const done = await complete(us, us.videos.create(BARS));
  const waiting = await us.videos.create(MANY_STEPS);
  for (const { id } of [done, waiting]) {
    assert.deepEqual({ ...(await us.videos.delete(id)) }, { id, object: "video.deleted", deleted: true });
    await assert.rejects(us.videos.retrieve(id), OpenAI.NotFoundError);
    await assert.rejects(us.videos.delete(id), OpenAI.NotFoundError);
  }
});

test("line 11: content in every variant, redirected, in part, and not before its time", async () => {
  const { id } = await finished();
  const bytes = async (from, ...options) => Buffer.from(await (await from.videos.downloadContent(id, ...options)).arrayBuffer());
  const us = client();
  const whole = await bytes(us);
  assert.equal(whole.subarray(4, 8).toString(), "ftyp");
  assert.equal((await bytes(us, { variant: "thumbnail" })).subarray(8, 12).toString(), "WEBP");
  assert.equal((await bytes(us, { variant: "spritesheet" })).readUInt16BE(0), 0xffd8);
  assert.deepEqual(await bytes(client("alice", { at: "redirecting_url" })), whole);
  assert.deepEqual(await bytes(us, {}, { headers: { Range: "bytes=100-199" } }), whole.subarray(100, 200));
  const waiting = await us.videos.create(MANY_STEPS);
  await assert.rejects(us.videos.downloadContent(waiting.id), OpenAI.NotFoundError);
  await us.videos.delete(waiting.id);
});

test("line 15: each status with its exception and its number of requests", async () => {
  const cases = [
    [400, OpenAI.BadRequestError, 1, client(), { ...BARS, seconds: "5" }],
    [401, OpenAI.AuthenticationError, 1, client("alice", { apiKey: "sk-wrong" }), BARS],
    [404, OpenAI.NotFoundError, 1, client(), { ...BARS, model: "no-such" }],
    [429, OpenAI.RateLimitError, 1, client("poor"), BARS],
    [503, OpenAI.InternalServerError, 3, client("alice", { at: "dead_url" }), BARS],
  ];
  for (const [status, kind, requests, from, body] of cases) {
    await assert.rejects(from.videos.create(body), (error) => error instanceof kind && error.status === status);
    assert.deepEqual(from.exchanges.map((exchange) => exchange.status), Array(requests).fill(status));
  }
});

test("line 17: every answer has an id", async () => {
  const us = client();
  const found = await us.videos.retrieve((await finished()).id);
  assert.ok(found._request_id);
  await assert.rejects(us.videos.retrieve("video_nothing"), (error) => Boolean(error.requestID));
  assert.ok(us.exchanges.every((exchange) => exchange.headers.get("x-request-id")));
  assert.ok(facts.base_url.endsWith("/v1"));
});
