// One line of JSON per test: the line of the checklist, its name, its seconds, its failure or null.
import { inspect } from "node:util";

export default async function* report(source) {
  for await (const { type, data } of source) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const [, line, name] = /^line (\d+): (.*)$/.exec(data.name) ?? [null, "0", data.name];
    const failure = type === "test:fail" || data.skip || data.todo ? inspect(data.details.error ?? "not played") : null;
    yield `${JSON.stringify({ line: Number(line), name, seconds: data.details.duration_ms / 1000, failure })}\n`;
  }
}
