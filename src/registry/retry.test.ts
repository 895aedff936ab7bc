import { describe, expect, test } from "vitest";
import { manualClock } from "../../test/support/manual-clock.js";
import { withCode } from "../../test/support/store-contract.js";
import { LadingError } from "../errors.js";
import { bodyOf, readBody } from "./body.js";
import type { Answer, Call } from "./call.js";
import { HostPauses } from "./host-pauses.js";
import { retry } from "./retry.js";
import { retryAfter, waitText } from "./retry-after.js";

const url = new URL("https://reg.example/v2/");
const call: Call = { method: "GET", url, role: "registry", headers: {}, access: null, signal: undefined };
const answer = (status: number, headers: Record<string, string> = {}, text = ""): Answer => ({
  status,
  headers,
  body: bodyOf(Buffer.from(text)),
  url,
});
const unreachable = new LadingError("unreachable", "cut");

/** Sends what the list says, its last entry again and again. */
function scripted(...steps: (Answer | Error)[]) {
  const clock = manualClock();
  let sent = 0;
  const warnings: string[] = [];
  const send = retry(
    async () => {
      const step = steps[Math.min(sent, steps.length - 1)];
      sent += 1;
      if (step instanceof Error || step === undefined) throw step;
      return step;
    },
    { clock, random: () => 0.5, pauses: new HostPauses(clock), onWarning: (text) => warnings.push(text) },
  );
  return { send, clock, count: () => sent, warnings };
}

describe("retry", () => {
  test.each([408, 499, 500, 502, 503, 504, 522])("%i is repeated with growing waits", async (status) => {
    const { send, clock, count } = scripted(answer(status), answer(status), answer(200));
    expect((await send(call)).status).toBe(200);
    expect(count()).toBe(3);
    expect(clock.waits).toEqual([250, 500]);
  });

  test("a wait that a person would notice is told, one for all requests that wait together", async () => {
    const { send, clock, warnings } = scripted(answer(503, { "retry-after": "7" }), answer(503), answer(200));
    expect((await Promise.all([send(call), send(call)])).map(({ status }) => status)).toEqual([200, 200]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("7 s");
    expect(clock.waits.filter((wait) => wait >= 7000).length).toBeGreaterThan(0);
    const quick = scripted(answer(503), answer(503), answer(200));
    await quick.send(call);
    expect(quick.warnings).toEqual([]);
  });

  test("the fifth answer is the last", async () => {
    const { send, clock, count } = scripted(answer(503));
    expect((await send(call)).status).toBe(503);
    expect(count()).toBe(5);
    expect(clock.waits).toEqual([250, 500, 1000, 2000]);
  });

  test.each([200, 202, 400, 401, 403, 404, 405, 413, 415, 501, 507])("%i is not repeated", async (status) => {
    const { send, count } = scripted(answer(status));
    expect((await send(call)).status).toBe(status);
    expect(count()).toBe(1);
  });

  test("a connection that fails is tried five times", async () => {
    const { send, count } = scripted(unreachable);
    await expect(send(call)).rejects.toBe(unreachable);
    expect(count()).toBe(5);
  });

  test.each([
    new LadingError("tls", "no"),
    new LadingError("unsafe-url", "no"),
    new LadingError("cancelled", "no"),
    new LadingError("unreachable", "no", { cause: Object.assign(new Error("no such name"), { code: "ENOTFOUND" }) }),
    new Error("no"),
  ])("%s is not repeated", async (error) => {
    const { send, count } = scripted(error);
    await expect(send(call)).rejects.toBe(error);
    expect(count()).toBe(1);
  });

  test("what its caller repeats itself is sent once", async () => {
    const { send, count } = scripted(answer(503));
    expect((await send({ ...call, retry: false })).status).toBe(503);
    expect(count()).toBe(1);
  });

  test("429 waits as long as it says, and a little", async () => {
    const { send, clock } = scripted(answer(429, { "retry-after": "3" }), answer(200));
    expect((await send(call)).status).toBe(200);
    expect(clock.waits).toEqual([3150]);
  });

  test("429 with a date waits until then", async () => {
    const { clock: reference } = scripted();
    const date = new Date(reference.now() + 20_000).toUTCString();
    const { send, clock } = scripted(answer(429, { "retry-after": date }), answer(200));
    expect((await send(call)).status).toBe(200);
    expect(clock.waits).toEqual([21_000]);
  });

  test("a spent quota that comes back in an hour is not asked again", async () => {
    const text = "You have reached your pull rate limit.";
    const { send, clock, count } = scripted(answer(429, { "retry-after": "3600" }, text));
    expect((await send(call)).status).toBe(429);
    expect(count()).toBe(1);
    expect(clock.waits).toEqual([]);
  });

  test.each([
    ["no time", {}, ""],
    ["a time that is none", { "retry-after": "880.092µs" }, ""],
    ["a spent quota", { "retry-after": "5" }, "You have reached your pull rate limit."],
  ])("429 with %s is tried once more after ten seconds", async (_what, headers, text) => {
    const { send, clock, count } = scripted(answer(429, headers, text));
    const last = await send(call);
    expect(last.status).toBe(429);
    expect(Buffer.from(await readBody(last, 1000, "x")).toString()).toBe(text);
    expect(count()).toBe(2);
    expect(clock.waits).toEqual([10_000]);
  });

  test("429 that asks for too long fails at once", async () => {
    const { send, clock, count } = scripted(answer(429, { "retry-after": "3600" }));
    expect((await send(call)).headers["retry-after"]).toBe("3600");
    expect([count(), clock.waits]).toEqual([1, []]);
  });

  test.each([
    [429, "0"],
    [429, "1"],
    [503, "0"],
  ])("%i with Retry-After: %s for ever comes to an end", async (status, value) => {
    const { send, clock, count } = scripted(answer(status, { "retry-after": value }));
    expect((await send(call)).status).toBe(status);
    expect(count()).toBeLessThanOrEqual(300);
    expect(clock.waits.reduce((sum, wait) => sum + wait, 0)).toBeLessThanOrEqual(300_000);
  });

  test("503 that asks for too long fails at once", async () => {
    const { send, clock, count } = scripted(answer(503, { "retry-after": "61" }));
    expect((await send(call)).headers["retry-after"]).toBe("61");
    expect([count(), clock.waits]).toEqual([1, []]);
  });

  test("what was refused with 429 was not done: nobody asks whether it was", async () => {
    const { send, count } = scripted(answer(429, { "retry-after": "1" }), answer(201));
    let asked = 0;
    const confirm = async () => {
      asked += 1;
      return null;
    };
    expect((await send({ ...call, confirm })).status).toBe(201);
    expect([count(), asked]).toEqual([2, 0]);
  });

  test("429 again and again ends after five minutes", async () => {
    const { send, clock } = scripted(answer(429, { "retry-after": "60" }));
    expect((await send(call)).status).toBe(429);
    expect(clock.waits.reduce((sum, wait) => sum + wait, 0)).toBeLessThanOrEqual(300_000);
  });

  test("one host's trouble holds back all requests to it, and none to others", async () => {
    const clock = manualClock();
    const pauses = new HostPauses(clock);
    const options = { clock, random: () => 0.5, pauses };
    pauses.pause("reg.example", 5000);
    await retry(async () => answer(200), options)({ ...call, url: new URL("https://other.example/") });
    expect(clock.waits).toEqual([]);
    await retry(async () => answer(200), options)(call);
    expect(clock.waits).toEqual([5000]);
  });

  test("a signal ends the wait", async () => {
    const { send } = scripted(answer(503));
    const abort = new AbortController();
    abort.abort();
    await expect(send({ ...call, signal: abort.signal })).rejects.toEqual(withCode("cancelled"));
  });

  test("what was lost but done is not sent again", async () => {
    const { send, count } = scripted(unreachable);
    expect((await send({ ...call, confirm: async () => answer(201) })).status).toBe(201);
    expect(count()).toBe(1);
  });
});

describe("retryAfter", () => {
  const now = Date.UTC(2026, 0, 1);
  test.each([
    ["0", 0],
    ["7", 7000],
    ["Thu, 01 Jan 2026 00:00:30 GMT", 30_000],
    ["Thursday, 01-Jan-26 00:00:30 GMT", 30_000],
    ["Thu Jan  1 00:00:30 2026", 30_000],
    ["3, 5", null],
    ["880.092µs", null],
    ["Thu, 01 Jan 2026 00:00:30 +0100", null],
    ["Thu, 99 Jan 2026 00:00:30 GMT", null],
    ["Wed, 31 Dec 2025 00:00:00 GMT", 0],
    ["1.5", null],
    ["-1", null],
    ["soon", null],
    ["2026-01-01", null],
    [undefined, null],
  ])("%s is %s", (value, expected) => {
    expect(retryAfter(value, now)).toBe(expected);
  });
});

describe("waitText", () => {
  test.each([
    [1, "1 s"],
    [7000, "7 s"],
    [119_000, "119 s"],
    [300_000, "5 min"],
    [3_600_000, "60 min"],
    [19_200_000, "5 h 20 min"],
    [21_600_000, "6 h"],
  ])("%i ms are %s", (milliseconds, text) => {
    expect(waitText(milliseconds)).toBe(text);
  });
});
