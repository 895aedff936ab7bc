import { createHash } from "node:crypto";

/**
 * Digests of compressed output for fixed inputs. They are part of every image that Lading compresses: a change here means that images
 * pushed before get another digest, and needs a new `compressorId`.
 */
export const goldenVectors = {
  compressorId: "fflate-0.8.3/1/8/1MiB",
  digests: {
    empty: "sha256:30e6fa98fb48c2b132824d1ac5e2243c0be9e9082ff32598d34d7687ca7f6c7f",
    "one byte": "sha256:7d705bfee2a0063d0274252759512c33cc0f6b698c815b4f5416603a9f3881f9",
    "zeros of a block": "sha256:595254ec13e185042216d67d2538d13a15418718fd0c74eb85682b9e77aae095",
    "a block and a byte": "sha256:377206b626c25d3cc570bf5cad69a1fe54a9608a5951d2d75d7a654c2b8d2fe9",
    "a full last byte": "sha256:67821ee884d5266d0c6ef4569067d95a7232005938f1df6eabd412502b85f9a0",
    "six bits over": "sha256:496052d0aeddf3fb2a44e52633b103308cebd992a2f353e59624191f10028934",
    "seven bits over": "sha256:41575bcf6d47ad862c3fc8cab7cb0b86f7ce716765e689d4e1fa2a1b6404fb6b",
    lines: "sha256:938972a471d807b56c6c0ed9cb9ad319a9fe915fd78fbc4c27a847fd1a03626b",
    noise: "sha256:d047389926aa14d1377e8b9f80ba0e6d22dab8430c79534a30cc6904968f0da5",
    mixed: "sha256:cc0b7d17b3ff3c735c3bbb72393391099dbdba9d3ca979360c10a8d4d276aca7",
  },
};

/** Fixed bytes from a hash chain: text-like lines, so that there is something to find for a compressor. */
function lines(seed, size) {
  const parts = [];
  let state = createHash("sha256").update(seed).digest();
  for (let have = 0; have < size; ) {
    const line = `${state.toString("hex").slice(0, state[0] % 60)} usr/lib/${state[1] % 16}/${state.toString("base64")}\n`;
    parts.push(line);
    have += line.length;
    state = createHash("sha256").update(state).digest();
  }
  return Buffer.from(parts.join("")).subarray(0, size);
}

function noise(seed, size) {
  const parts = [];
  let state = createHash("sha512").update(seed).digest();
  for (let have = 0; have < size; have += 64) {
    parts.push(state);
    state = createHash("sha512").update(state).digest();
  }
  return Buffer.concat(parts).subarray(0, size);
}

/** @returns {[name: string, bytes: Buffer][]} */
export function goldenInputs() {
  const mixed = Buffer.concat([
    lines("mixed", 700_000),
    noise("mixed", 600_000),
    Buffer.alloc(900_000),
    lines("mixed", 700_000),
  ]);
  return [
    ["empty", Buffer.alloc(0)],
    ["one byte", Buffer.from("x")],
    ["zeros of a block", Buffer.alloc(1024 * 1024)],
    ["a block and a byte", lines("border", 1024 * 1024 + 1)],
    // The compressor's last byte is full, almost full, or has no room for a block's header.
    ["a full last byte", lines("lines", 32)],
    ["six bits over", lines("lines", 138)],
    ["seven bits over", lines("lines", 82)],
    ["lines", lines("lines", 3_000_000)],
    ["noise", noise("noise", 1_500_000)],
    ["mixed", mixed],
  ];
}
