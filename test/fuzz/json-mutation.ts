import fc from "fast-check";
import { hostileBytes } from "./mutation.js";

/** JSON with places for keys that come twice: an object is its pairs. */
type Node =
  | { readonly pairs: readonly (readonly [key: string, value: Node])[] }
  | { readonly items: readonly Node[] }
  | { readonly text: string };

function nodeOf(value: unknown): Node {
  if (Array.isArray(value)) return { items: value.map(nodeOf) };
  if (typeof value === "object" && value !== null)
    return { pairs: Object.entries(value).map(([key, entry]) => [key, nodeOf(entry)]) };
  return { text: JSON.stringify(value) };
}

function textOf(node: Node): string {
  if ("pairs" in node)
    return `{${node.pairs.map(([key, value]) => `${JSON.stringify(key)}:${textOf(value)}`).join(",")}}`;
  if ("items" in node) return `[${node.items.map(textOf).join(",")}]`;
  return node.text;
}

function count(node: Node): number {
  if ("pairs" in node) return 1 + node.pairs.reduce((sum, [, value]) => sum + count(value), 0);
  return "items" in node ? 1 + node.items.reduce((sum, item) => sum + count(item), 0) : 1;
}

/** The tree with its node number `index` changed. */
function change(node: Node, index: number, how: (node: Node) => Node): Node {
  if (index === 0) return how(node);
  let left = index - 1;
  const within = (child: Node): Node => {
    const size = count(child);
    const changed = left >= 0 && left < size ? change(child, left, how) : child;
    left -= size;
    return changed;
  };
  if ("pairs" in node) return { pairs: node.pairs.map(([key, value]) => [key, within(value)]) };
  return "items" in node ? { items: node.items.map(within) } : node;
}

/** Values that nobody expects where they are put. */
const oddTexts: readonly string[] = [
  ...["null", "true", "0", "-1", "-0", "1.5", "1e999", "9007199254740993", '""', '" "', "[]", "{}", "[null]", '"0"'],
  ...['{"toString":1,"valueOf":2}', '{"__proto__":{"a":1}}', '{"length":4294967296}', '{"then":"x"}', '"__proto__"'],
  ...[
    `"${"x".repeat(9000)}"`,
    '"\\u0000"',
    '"\\ud800"',
    '"../../etc/passwd"',
    `"sha256:${"0".repeat(64)}"`,
    '"sha256:0"',
  ],
  ...[`${"[".repeat(3000)}${"]".repeat(3000)}`, '"\\u001b[2J"', '"constructor"', "[[1]]", '"application/json"'],
];

const oddNode: fc.Arbitrary<Node> = fc.oneof(
  fc.constantFrom(...oddTexts).map((text): Node => ({ text })),
  fc.json({ maxDepth: 3 }).map((text): Node => ({ text })),
);

const changes: fc.Arbitrary<(node: Node) => Node> = fc.oneof(
  oddNode.map((other) => () => other),
  // A key that comes twice, with another value.
  fc.tuple(fc.nat(), oddNode).map(([which, other]) => (node: Node): Node => {
    if (!("pairs" in node) || node.pairs.length === 0) return node;
    const [key = ""] = node.pairs[which % node.pairs.length] ?? [];
    return { pairs: [...node.pairs, [key, other]] };
  }),
  fc
    .tuple(
      fc.constantFrom("__proto__", "constructor", "toString", "", "mediaType", "manifests", "layers", "config"),
      oddNode,
    )
    .map(
      ([key, other]) =>
        (node: Node): Node =>
          "pairs" in node ? { pairs: [...node.pairs, [key, other]] } : node,
    ),
  fc.nat().map((which) => (node: Node): Node => {
    if ("pairs" in node) return { pairs: node.pairs.filter((_pair, index) => index !== which % node.pairs.length) };
    return "items" in node ? { items: node.items.filter((_item, index) => index !== which % node.items.length) } : node;
  }),
  fc.integer({ min: 2, max: 50 }).map(
    (times) =>
      (node: Node): Node => ({ items: Array(times).fill(node) }),
  ),
);

/** JSON values with some of their parts replaced, doubled or left out: most parse, and few are what they should be. */
export function mutatedJson(samples: readonly unknown[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(fc.tuple(fc.nat(), changes), { maxLength: 3 }))
    .map(([sample, list]) =>
      textOf(list.reduce((node, [index, how]) => change(node, index % count(node), how), nodeOf(sample))),
    );
}

/** Arbitrary bytes, JSON samples changed as bytes, and changed as trees. */
export function hostileJson(samples: readonly unknown[]): fc.Arbitrary<Buffer> {
  const bytes = samples.map((sample) => Buffer.from(JSON.stringify(sample)));
  return fc.oneof(
    { weight: 1, arbitrary: hostileBytes(bytes) },
    { weight: 2, arbitrary: mutatedJson(samples).map((text) => Buffer.from(text)) },
  );
}
