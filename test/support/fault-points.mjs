// Preloaded into a process under test (`NODE_OPTIONS=--import=…`, see faulty-process.ts): counts the steps that the process
// takes on the disk and on the wire, and kills it with SIGKILL, or fails the call with an errno, at the one that it is told.
//
// A point is `CALL PLACE NUMBER`, the number from 1 for each pair: `rename blob 2` is the second file that is about to become
// a blob. `after rename blob 2` is when that has been done. `step 17` is the 17th point of whatever kind.
// The wire: `request GET blob 1` is about to be sent, `response GET blob 1` has answered with its head; a server's are `serve …`
// and `served …`.
//
// Its time may leap: at SIGUSR2 all timers that are due within the next `leap` milliseconds ring, in order.
import { subscribe } from "node:diagnostics_channel";
import { readFileSync, writeFileSync } from "node:fs";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";

const { kill = null, fail = null, report = null, leap = 0 } = JSON.parse(process.env.LADING_FAULT_POINTS ?? "{}");

/** Calls that change something, promise that it is safe, or must not fail unseen. */
const fileCalls = [
  "copyFile",
  "link",
  "mkdir",
  "open",
  "readdir",
  "readFile",
  "rename",
  "rm",
  "rmdir",
  "truncate",
  "unlink",
];
const handleCalls = ["chmod", "datasync", "read", "readFile", "sync", "truncate", "write", "writeFile", "writev"];

const counts = new Map();
let steps = 0;

function tell(more) {
  if (report === null) return;
  let peak = 0;
  try {
    peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    // Only Linux tells.
  }
  writeFileSync(report, JSON.stringify({ steps, peak, points: Object.fromEntries(counts), killed: null, ...more }));
}

function die(point) {
  tell({ killed: point });
  process.kill(process.pid, "SIGKILL");
}

/** Where a path belongs, in a store (ours) or in a registry's folder. Null for all other files. */
function placeOf(path) {
  const text = String(path);
  if (/\/blobs\/(sha256|sha512)\/(?:[0-9a-f]{2}\/)?[0-9a-f]{64,}$/.test(text)) return "blob";
  // In a folder that is held open.
  if (/^\/proc\/self\/fd\/\d+\/[0-9a-f]{64,}$/.test(text)) return "blob";
  if (/^\/proc\/self\/fd\/\d+$/.test(text)) return "folder";
  if (/\/blobs(\/|$)/.test(text)) return "folder";
  if (/\/\.lading\/partial\/tmp\.|\/tmp\/[^/]+$/.test(text)) return "temporary";
  if (/\/\.lading\/partial\/.*\.json$/.test(text)) return "state";
  if (/\/\.lading\/partial\/./.test(text)) return "partial";
  if (/\/_uploads\//.test(text)) return "upload";
  if (/\.lock[^/]*$/.test(text)) return "lock";
  if (/\/index\.json$/.test(text)) return "index";
  if (/\/oci-layout$/.test(text)) return "layout";
  if (/\/(repos|meta)\//.test(text)) return "record";
  if (/\/\.lading(\/|$)/.test(text)) return "folder";
  if (/\/(?:\.docker|\.config\/lading)\/./.test(text)) return "config";
  return null;
}

function wirePlaceOf(path) {
  if (/^\/v2\/.+\/blobs\/uploads\//.test(path)) return "upload";
  if (/^\/v2\/.+\/blobs\//.test(path)) return "blob";
  if (/^\/v2\/.+\/manifests\//.test(path)) return "manifest";
  return path.startsWith("/v2/") ? "registry" : "other";
}

/** Comes to a point. @returns Its name. */
function reach(pair) {
  const number = (counts.get(pair) ?? 0) + 1;
  counts.set(pair, number);
  steps += 1;
  const point = `${pair} ${number}`;
  if (kill === point || kill === `step ${steps}`) die(point);
  if (fail !== null && (fail.at === point || fail.at === `step ${steps}` || fail.at === `${pair} *`)) {
    throw Object.assign(new Error(`${fail.errno}: injected into ${point}`), { code: fail.errno });
  }
  return point;
}

function watched(call, place, run) {
  const point = reach(`${call} ${place}`);
  if (kill !== `after ${point}`) return run();
  return run().then((result) => {
    die(`after ${point}`);
    return result;
  });
}

function watchHandle(handle, place) {
  for (const call of handleCalls) {
    const original = handle[call];
    handle[call] = async (...args) => await watched(call, place, async () => await original.apply(handle, args));
  }
  return handle;
}

function leapAtSignal() {
  const pending = new Map();
  let ahead = 0;
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const now = Date.now.bind(Date);
  Date.now = () => now() + ahead;
  const ring = (timer) => {
    const { callback, args } = pending.get(timer);
    pending.delete(timer);
    clear(timer);
    callback(...args);
  };
  globalThis.setTimeout = Object.assign((callback, ms = 0, ...args) => {
    const timer = set(() => ring(timer), ms);
    pending.set(timer, { due: Date.now() + ms, callback, args });
    return timer;
  }, set);
  globalThis.clearTimeout = (timer) => {
    pending.delete(timer);
    clear(timer);
  };
  process.on("SIGUSR2", () => {
    const end = Date.now() + leap;
    for (;;) {
      const [next] = [...pending].filter(([, { due }]) => due <= end).sort(([, one], [, other]) => one.due - other.due);
      if (next === undefined) break;
      ahead = Math.max(ahead, next[1].due - now());
      ring(next[0]);
    }
    ahead = end - now();
  });
}

if (isMainThread) {
  for (const call of fileCalls) {
    const original = promises[call];
    promises[call] = async (...args) => {
      // What is moved or linked counts by where it goes.
      const place = placeOf(["rename", "link", "copyFile"].includes(call) ? args[1] : args[0]);
      if (place === null) return await original.apply(promises, args);
      const result = await watched(call, place, async () => await original.apply(promises, args));
      return call === "open" ? watchHandle(result, place) : result;
    };
  }
  if (leap > 0) leapAtSignal();
  syncBuiltinESMExports();
  const wire = (verb, { method, path, url }) => reach(`${verb} ${method} ${wirePlaceOf(path ?? url ?? "")}`);
  subscribe("http.client.request.start", ({ request }) => wire("request", request));
  subscribe("http.client.response.finish", ({ request }) => wire("response", request));
  subscribe("http.server.request.start", ({ request }) => wire("serve", request));
  subscribe("http.server.response.finish", ({ request }) => wire("served", request));
  process.on("exit", () => tell({}));
}
