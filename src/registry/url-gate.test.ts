import { describe, expect, test } from "vitest";
import { withCode } from "../../test/support/store-contract.js";
import type { AddressKind } from "./address.js";
import { type GateRules, gateUrl, type Namer, Standing, type UrlRole } from "./url-gate.js";

const rulesFor = (registry: string, more: Partial<GateRules> = {}): GateRules => ({
  registry: new URL(registry),
  insecure: false,
  inProcess: false,
  authHosts: [],
  insecureHosts: [],
  ...more,
});

const publicRegistry = rulesFor("https://reg.example");
const loopbackRegistry = rulesFor("http://127.0.0.1:5000");

describe("gateUrl", () => {
  test.each<[string, UrlRole, GateRules]>([
    ["https://reg.example/v2/", "registry", publicRegistry],
    ["https://storage.example/blob?sig=1", "redirect", publicRegistry],
    ["https://auth.example/token", "realm", publicRegistry],
    ["http://127.0.0.1:5000/token", "realm", loopbackRegistry],
    ["http://127.0.0.1:9000/bucket", "redirect", loopbackRegistry],
    ["http://localhost:9000/upload", "upload", loopbackRegistry],
    ["https://10.0.0.5:5000/v2/", "registry", rulesFor("https://10.0.0.5:5000")],
    ["https://10.0.0.5:5000/token", "realm", rulesFor("https://10.0.0.5:5000")],
    ["https://10.0.0.6:5001/token", "realm", rulesFor("https://10.0.0.5:5000")],
    ["https://10.0.0.6:9000/blob", "redirect", rulesFor("https://10.0.0.5:5000")],
    ["http://reg.lan:5000/v2/", "registry", rulesFor("http://reg.lan:5000", { insecure: true })],
    ["http://store.lan/x", "redirect", rulesFor("http://reg.lan", { insecure: true, insecureHosts: ["store.lan"] })],
    ["https://10.1.1.1/token", "realm", rulesFor("https://reg.example", { authHosts: ["10.1.1.1"] })],
    ["http://registry.invalid/v2/", "registry", rulesFor("http://registry.invalid", { inProcess: true })],
  ])("lets %s through as %s", (url, role, rules) => {
    expect(() => gateUrl(new URL(url), role, rules)).not.toThrow();
  });

  test.each<[string, UrlRole, GateRules]>([
    ["http://reg.lan:5000/v2/", "registry", rulesFor("http://reg.lan:5000")],
    ["http://10.0.0.5/v2/", "registry", rulesFor("http://10.0.0.5")],
    ["http://storage.example/blob", "redirect", publicRegistry],
    ["http://reg.example/v2/", "upload", publicRegistry],
    ["http://auth.example/token", "realm", publicRegistry],
    ["https://user@storage.example/blob", "redirect", publicRegistry],
    ["https://:pass@auth.example/token", "realm", publicRegistry],
    ["file:///etc/passwd", "realm", publicRegistry],
    ["ftp://storage.example/", "redirect", publicRegistry],
    ["https://127.0.0.1/blob", "redirect", publicRegistry],
    ["https://localhost./blob", "redirect", publicRegistry],
    ["https://2130706433/blob", "redirect", publicRegistry],
    ["https://[::1]/token", "realm", publicRegistry],
    ["https://[::ffff:127.0.0.1]/token", "realm", publicRegistry],
    ["https://[::ffff:10.0.0.1]/token", "upload", publicRegistry],
    ["https://[64:ff9b::7f00:1]/token", "upload", publicRegistry],
    ["https://169.254.169.254/latest/meta-data", "upload", publicRegistry],
    ["https://0.0.0.0/", "upload", publicRegistry],
    ["https://[::]/", "realm", publicRegistry],
    ["https://192.168.1.1/", "redirect", publicRegistry],
    ["https://[fd00::1]/", "redirect", publicRegistry],
    ["http://127.0.0.1:5001/token", "realm", loopbackRegistry],
    ["http://169.254.169.254/", "redirect", loopbackRegistry],
    ["https://127.0.0.1:9000/", "redirect", rulesFor("https://10.0.0.5:5000")],
    ["https://10.0.0.5:5001/token", "realm", loopbackRegistry],
    ["https://10.0.0.5:5001/blob", "redirect", loopbackRegistry],
    ["https://127.0.0.1/token", "realm", rulesFor("https://10.0.0.5:5000")],
    ["https://169.254.169.254/", "redirect", rulesFor("https://10.0.0.5:5000")],
    ["https://100.100.100.200/", "redirect", rulesFor("https://10.0.0.5:5000")],
    ["http://auth.example:5000/token", "realm", rulesFor("http://reg.example:5000", { insecure: true })],
  ])("refuses %s as %s", (url, role, rules) => {
    expect(() => gateUrl(new URL(url), role, rules)).toThrow(withCode("unsafe-url"));
  });

  test("names the flag for plain http", () => {
    expect(() => gateUrl(new URL("http://reg.lan:5000/"), "registry", rulesFor("http://reg.lan:5000"))).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("--insecure reg.lan:5000") }),
    );
  });
});

describe("what a name may turn out to be", () => {
  const standing = (...seen: readonly AddressKind[]) => {
    const made = new Standing();
    for (const kind of seen) made.saw(kind);
    return made;
  };
  const namer = (url: string, kind: AddressKind): Namer => ({ url: new URL(url), addressKind: kind });
  const storage = "https://storage.example/blob";
  const insecure = { insecure: true };

  test.each<[string, UrlRole, GateRules, Namer | null, readonly AddressKind[] | null]>([
    ["https://reg.example/v2/", "registry", publicRegistry, null, null],
    ["http://reg.lan/v2/", "registry", rulesFor("http://reg.lan", insecure), null, null],
    ["http://localhost:5000/v2/", "registry", rulesFor("http://localhost:5000"), null, ["loopback"]],
    ["http://a.localhost:9000/blob", "redirect", loopbackRegistry, null, ["loopback"]],
    [storage, "redirect", publicRegistry, null, ["public"]],
    [storage, "realm", rulesFor("https://reg.example", { standing: standing("private") }), null, ["private", "public"]],
    [
      storage,
      "redirect",
      rulesFor("https://reg.lan", { standing: standing("loopback") }),
      null,
      ["loopback", "public"],
    ],
    [storage, "realm", rulesFor("https://reg.lan", { standing: standing("loopback") }), null, ["public"]],
    [storage, "redirect", rulesFor("https://r.lan", { standing: standing("private", "public") }), null, ["public"]],
    [storage, "redirect", rulesFor("https://r.lan", { standing: standing("public", "private") }), null, ["public"]],
    [storage, "redirect", rulesFor("https://r.lan", { standing: standing("forbidden") }), null, ["public"]],
    [storage, "redirect", rulesFor("https://10.0.0.5"), namer("https://s3.example/", "public"), ["public"]],
    [storage, "redirect", rulesFor("https://10.0.0.5"), namer("https://s3.lan/", "private"), ["private", "public"]],
    [storage, "realm", rulesFor("https://r.example", { authHosts: ["storage.example"] }), null, null],
    [storage, "realm", rulesFor("https://r.example", { authHosts: ["storage.example:444"] }), null, ["public"]],
  ])("%s as %s", (url, role, rules, by, expected) => {
    const permit = gateUrl(new URL(url), role, rules, by);
    expect(permit === null ? null : [...permit].sort()).toEqual(expected);
  });

  test("https stays https, whoever on the way had it", () => {
    const rules = rulesFor("http://127.0.0.1:5000");
    const by = namer("https://127.0.0.1:9443/", "loopback");
    expect(() => gateUrl(new URL("http://127.0.0.1:9000/"), "redirect", rules, by)).toThrow(withCode("unsafe-url"));
  });
});
