import { expect, it } from "vitest";
import { registryAuth } from "./docker-exchange.js";

it("tells Docker who asks in base64url with its padding, whatever the length", () => {
  for (const password of ["a", "ab", "abc", "abcd", "ÿ?>~"]) {
    const text = registryAuth({ host: "127.0.0.1:5000", credential: { username: "alice", password } });
    expect(text).toMatch(/^[A-Za-z0-9_-]+={0,2}$/);
    expect(text.length % 4).toBe(0);
    expect(JSON.parse(Buffer.from(text, "base64url").toString())).toEqual({
      ...{ serveraddress: "127.0.0.1:5000", username: "alice" },
      password,
    });
  }
  expect(registryAuth({ host: "quay.io", credential: null })).toBe("e30=");
});
