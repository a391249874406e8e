// Lines 18 and 19 of the checklist, in Node.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { MANY_STEPS, client, ids, receiver } from "./stage.mjs";

const BOTH = ["video.completed", "video.failed"];
const hooked = client("hooked");

/** A video that ends at once, and so sends `video.failed`. */
async function happen() {
  const { id } = await hooked.videos.create(MANY_STEPS);
  await hooked.post(`/videos/${id}/cancel`);
  await hooked.videos.delete(id);
  return id;
}

const endpoints = (method, path = "", body = undefined) => hooked[method](`/webhook_endpoints${path}`, { body });

test("line 18: good, bad, rotated, redelivered", async () => {
  const inbox = await receiver(500);
  const made = await endpoints("post", "", { name: "node", url: inbox.url, event_types: BOTH });
  const rotated = await endpoints("post", `/${made.id}/rotate_secret`, { keep_old_secret_active_for_24_hours: true });
  const id = await happen();
  const again = await inbox.delivered(2);
  for (const secret of [made.signing_secret, rotated.signing_secret]) {
    const event = await hooked.webhooks.unwrap(again.body, again.headers, secret);
    assert.deepEqual([event.type, event.data.id], ["video.failed", id]);
  }
  assert.equal(again.headers["webhook-id"], inbox.requests[0].headers["webhook-id"]);
  assert.notEqual(again.headers["webhook-signature"], inbox.requests[0].headers["webhook-signature"]);
  const forged = again.body.replace("video.failed", "video.queued");
  const bad = hooked.webhooks.unwrap(forged, again.headers, made.signing_secret);
  await assert.rejects(bad, OpenAI.InvalidWebhookSignatureError);
  await endpoints("delete", `/${made.id}`);
  inbox.close();
});

test("line 19: endpoints are created, read, updated, listed, deleted", async () => {
  const inbox = await receiver();
  const made = await endpoints("post", "", { name: "node", url: inbox.url, event_types: BOTH });
  assert.equal((await endpoints("get", `/${made.id}`)).name, "node");
  const changed = await endpoints("post", `/${made.id}`, { name: "renamed" });
  assert.deepEqual([changed.name, changed.url], ["renamed", inbox.url]);
  assert.ok((await endpoints("get")).data.some((each) => each.id === made.id));
  assert.deepEqual(await endpoints("delete", `/${made.id}`), { id: made.id, object: "webhook_endpoint.deleted", deleted: true });
  await assert.rejects(endpoints("get", `/${made.id}`), OpenAI.NotFoundError);
  inbox.close();
});
