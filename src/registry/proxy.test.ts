import { describe, expect, test } from "vitest";
import { proxyFor } from "./proxy.js";

const proxy = "http://proxy.lan:3128";

describe("proxyFor", () => {
  test.each([
    ["https://reg.example/v2/", { HTTPS_PROXY: proxy }, true],
    ["https://reg.example/v2/", { https_proxy: "proxy.lan:3128" }, true],
    ["https://reg.example/v2/", { HTTP_PROXY: proxy }, false],
    ["http://reg.lan/v2/", { HTTP_PROXY: proxy }, true],
    ["https://reg.example/", { ALL_PROXY: proxy }, true],
    ["https://reg.example/", {}, false],
    ["https://reg.example/", { HTTPS_PROXY: proxy, NO_PROXY: "*" }, false],
    ["https://reg.example/", { HTTPS_PROXY: proxy, NO_PROXY: "other.example, reg.example" }, false],
    ["https://a.reg.example/", { HTTPS_PROXY: proxy, NO_PROXY: "reg.example" }, false],
    ["https://a.reg.example/", { HTTPS_PROXY: proxy, no_proxy: ".reg.example" }, false],
    ["https://a.reg.example/", { HTTPS_PROXY: proxy, NO_PROXY: "*.reg.example" }, false],
    ["https://notreg.example/", { HTTPS_PROXY: proxy, NO_PROXY: "reg.example" }, true],
    ["https://reg.example:8443/", { HTTPS_PROXY: proxy, NO_PROXY: "reg.example:8443" }, false],
    ["https://reg.example/", { HTTPS_PROXY: proxy, NO_PROXY: "reg.example:8443" }, true],
    ["https://[fd00::1]/", { HTTPS_PROXY: proxy, NO_PROXY: "fd00::1" }, false],
    ["http://localhost:5000/", { HTTP_PROXY: proxy }, false],
    ["http://127.0.0.1:5000/", { HTTP_PROXY: proxy }, false],
    ["https://reg.example/", { HTTPS_PROXY: "socks5://proxy.lan" }, false],
    ["https://reg.example/", { HTTPS_PROXY: "http://" }, false],
  ])("%s with %j: %s", (url, env, proxied) => {
    expect(proxyFor(new URL(url), env)?.href).toBe(proxied ? `${proxy}/` : undefined);
  });
});
