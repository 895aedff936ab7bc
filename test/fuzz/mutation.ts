import fc from "fast-check";

/** Numbers and pieces that parsers trip over. */
const odd: readonly string[] = [
  ...["\0", "\n", "\r\n", " ", '"', "\\", "/", "..", "%00", "%", ",", ";", "=", ":", "@", "-", "é", "\u202e", "\ud800"],
  ...["0", "-1", "00", "9007199254740993", "18446744073709551616", "1e308", "NaN", "0x10", "null", "{}", "[]", "[[[["],
  ...["__proto__", "constructor", "toString", "A".repeat(300), "sha256:", "\uFEFF", "<", ">", "bytes", "*"],
];

type Change = (bytes: Buffer, samples: readonly Uint8Array[]) => Buffer;

/** A place in something of any length. */
const place = fc.nat(0xffff).map((share) => share / 0x10000);
const at = (bytes: Uint8Array, share: number) => Math.floor(share * (bytes.length + 1));

const changes: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(place, fc.nat(7)).map(
    ([share, bit]): Change =>
      (bytes) => {
        const changed = Buffer.from(bytes);
        const index = Math.min(at(bytes, share), bytes.length - 1);
        if (index >= 0) changed[index] = (changed[index] ?? 0) ^ (1 << bit);
        return changed;
      },
  ),
  place.map(
    (share): Change =>
      (bytes) =>
        bytes.subarray(0, at(bytes, share)),
  ),
  fc.tuple(place, place).map(
    ([one, other]): Change =>
      (bytes) => {
        const [start, end] = [at(bytes, Math.min(one, other)), at(bytes, Math.max(one, other))];
        return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
      },
  ),
  fc.tuple(place, place).map(
    ([one, other]): Change =>
      (bytes) => {
        const [start, end] = [at(bytes, Math.min(one, other)), at(bytes, Math.max(one, other))];
        return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]);
      },
  ),
  fc
    .tuple(
      place,
      fc.oneof(
        fc.constantFrom(...odd).map((text) => Buffer.from(text)),
        fc.uint8Array({ maxLength: 24 }),
      ),
    )
    .map(
      ([share, piece]): Change =>
        (bytes) =>
          Buffer.concat([bytes.subarray(0, at(bytes, share)), piece, bytes.subarray(at(bytes, share))]),
    ),
  fc.tuple(place, place, fc.nat()).map(
    ([one, other, which]): Change =>
      (bytes, samples) => {
        const sample = samples[which % samples.length] ?? bytes;
        return Buffer.concat([bytes.subarray(0, at(bytes, one)), sample.subarray(at(sample, other))]);
      },
  ),
);

/** Real samples with bits turned over, cut, doubled, spliced, or with rubbish in them; now and then as they are. */
export function mutated(samples: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(changes, { maxLength: 5 }))
    .map(([sample, list]) => list.reduce<Buffer>((bytes, change) => change(bytes, samples), Buffer.from(sample)));
}

/** Arbitrary bytes, and mutated samples. */
export function hostileBytes(samples: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  return fc.oneof(
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)) },
    { weight: 4, arbitrary: mutated(samples) },
  );
}

/** Arbitrary text, and mutated samples. */
export function hostileText(samples: readonly string[]): fc.Arbitrary<string> {
  const bytes = samples.map((sample) => Buffer.from(sample));
  return fc.oneof(
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 300 }) },
    { weight: 2, arbitrary: mutated(bytes).map((text) => text.toString("utf8")) },
    { weight: 2, arbitrary: mutated(bytes).map((text) => text.toString("latin1")) },
  );
}
