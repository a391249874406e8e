// What every line plays on: clients of several tenants, with every exchange written down.
// KINEMA_STAGE names the file with the facts of the running system, as for the Python suites.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, { toFile } from "openai";

export const facts = JSON.parse(readFileSync(process.env.KINEMA_STAGE, "utf8"));
export const BARS = { prompt: "bars", model: "testcard", size: "1280x720", seconds: "4" };
export const REFUSED_LATER = "A gang beats a man to death with hammers, blood everywhere";
export const MANY_STEPS = { ...BARS, steps: 1500 };

/** The official client as that tenant; `client.exchanges` holds what it sent and got. `lose` hears the id that the
 * first answer to a create names, in place of the client, which hears of a broken connection. */
export function client(tenant = "alice", { at = "base_url", lose = null, ...options } = {}) {
  const exchanges = [];
  const fetching = async (url, init) => {
    const response = await fetch(url, init);
    const { status, headers } = response;
    exchanges.push({ url: String(url), sent: new Headers(init.headers), status, headers });
    if (lose !== null && exchanges.length === 1) {
      lose((await response.json()).id);
      throw new TypeError("the connection broke");
    }
    return response;
  };
  const made = new OpenAI({ baseURL: facts[at], apiKey: facts.keys[tenant], fetch: fetching, ...options });
  return Object.assign(made, { exchanges });
}

/** One of the pictures that the venue has drawn. */
export const picture = (name) => readFileSync(`${facts.pictures}/${name}`);

export const upload = (bytes, name, type) => toFile(bytes, name, { type });

/** The video at its end, polled as fast as the header of the first answer asks. */
export async function poll(from, id) {
  for (let pause = null; ; await sleep(pause)) {
    const { data, response } = await from.videos.retrieve(id).withResponse();
    if (data.status !== "queued" && data.status !== "in_progress") return data;
    pause ??= Math.min(Number(response.headers.get("openai-poll-after-ms")), 1000);
  }
}

export async function complete(from, making) {
  const done = await poll(from, (await making).id);
  assert.equal(done.status, "completed", JSON.stringify(done));
  return done;
}

let shared;
/** One completed video of alice that no line takes away. */
export const finished = () => (shared ??= complete(client(), client().videos.create(BARS)));

export const ids = async (list) => {
  const found = [];
  for await (const each of list) found.push(each.id);
  return found;
};

/** A webhook's other end: answers with the scripted statuses in turn, then with 200. */
export async function receiver(...statuses) {
  const requests = [];
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      requests.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
      response.writeHead(statuses.shift() ?? 200).end();
    });
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const delivered = async (count) => {
    for (let waited = 0; requests.length < count; waited += 50) {
      assert.ok(waited < 20_000, `${requests.length} of ${count} webhooks came`);
      await sleep(50);
    }
    return requests[count - 1];
  };
  const url = `http://127.0.0.1:${server.address().port}/hook`;
  return { url, requests, delivered, close: () => server.close() };
}
