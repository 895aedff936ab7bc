import { afterEach, describe, expect, test } from "vitest";
import { testClient } from "../../test/support/registry-client.js";
import { on, type ScriptedRegistry, startScriptedRegistry } from "../../test/support/scripted-registry.js";
import type { WireRequest, WireResponse } from "../oci/wire.js";
import { emptyBody } from "./body.js";
import { rateBudgetOf, rateBudgetText } from "./rate-budget.js";

describe("rateBudgetOf", () => {
  test.each([
    [
      { "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600", "docker-ratelimit-source": "192.0.2.1" },
      { limit: 100, remaining: 76, window: 21_600, source: "192.0.2.1" },
      "76 of 100 requests in 6 h left for 192.0.2.1",
    ],
    [
      { "ratelimit-limit": "200", "ratelimit-remaining": "0" },
      { limit: 200, remaining: 0, window: null, source: null },
      "0 of 200 requests left",
    ],
  ])("reads %j", (headers, budget, text) => {
    expect(rateBudgetOf(headers)).toEqual(budget);
    expect(rateBudgetText(budget)).toBe(text);
  });

  test.each([
    {},
    { "ratelimit-limit": "100" },
    { "ratelimit-limit": "many", "ratelimit-remaining": "1" },
    { "ratelimit-limit": "100", "ratelimit-remaining": "-1" },
    { "ratelimit-limit": "99999999999999999999", "ratelimit-remaining": "1" },
  ])("takes %j for none", (headers) => {
    expect(rateBudgetOf(headers)).toBeNull();
  });

  test("a source that is no name is left out", () => {
    const headers = { "ratelimit-limit": "1", "ratelimit-remaining": "1", "docker-ratelimit-source": "\u001b[31mme" };
    expect(rateBudgetOf(headers)?.source).toBeNull();
  });
});

describe("a client", () => {
  let registry: ScriptedRegistry | null = null;
  afterEach(async () => {
    await registry?.close();
    registry = null;
  });
  const spent = { "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600" };

  test("says what is left, and when to come back, where it is refused", async () => {
    registry = await startScriptedRegistry(
      on("GET", /manifests/, (exchange) => exchange.send(429, { ...spent, "retry-after": "3600" })),
    );
    const { client } = testClient(registry.url);
    const error = await client
      .repository("a/b")
      .manifest("1")
      .catch((reason) => reason);
    expect(error).toMatchObject({ code: "rate-limited", status: 429, retryable: true });
    expect(error.message).toContain("0 of 100 requests in 6 h left");
    expect(error.message).toContain("60 min");
    expect(error.hint).toContain("lading login");
    expect(client.budget).toEqual({ limit: 100, remaining: 0, window: 21_600, source: null });
    client.close();
  });

  test("asks Docker Hub by a HEAD, which is not counted, and nobody else", async () => {
    const asked: string[] = [];
    const handler = async ({ method, url }: WireRequest): Promise<WireResponse> => {
      asked.push(`${method} ${url}`);
      return { status: 404, headers: { "ratelimit-limit": "100", "ratelimit-remaining": "99" }, body: emptyBody };
    };
    const hub = testClient("https://docker.io", { handler }).client;
    expect(await hub.askBudget()).toMatchObject({ limit: 100, remaining: 99 });
    expect(asked).toEqual(["HEAD /v2/ratelimitpreview/test/manifests/latest"]);
    asked.length = 0;
    const other = testClient("https://registry.example", { handler }).client;
    expect(await other.askBudget()).toBeNull();
    expect(asked).toEqual([]);
  });
});
