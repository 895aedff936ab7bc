import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const ends = ["engines", "registry", "content", "config", "image", "oci"];
const sdk = ["images", "local-images", "operations", ...ends];

/** Files that every room may import. */
const leaves = ["errors", "version"];

/** What each room may import, beside itself and the leaves. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  version: [],
  oci: [],
  image: ["oci"],
  content: ["image", "oci"],
  registry: ["content", "image", "oci"],
  server: ["content", "image", "oci"],
  engines: ["content", "image", "oci"],
  // Type names of the wire, for a registry that is given as a value: docs/decisions/0001.
  config: ["image", "oci"],
  operations: ends,
  images: ["operations", ...ends],
  "local-images": ["operations", ...ends],
  client: sdk,
  relay: ["server", "registry", "content", "image", "oci"],
  // The public list of names.
  index: ["client", ...sdk],
  cli: ["index", "client", ...sdk, "server"],
};

/** Rooms that may be reached by `import()` (and for their types) alone, so that they are loaded only when they are needed. */
const dynamicOnly: Readonly<Record<string, readonly string[]>> = {
  operations: ["server", "relay"],
  images: ["server", "relay"],
  client: ["server", "relay"],
};

/** What rooms that import no `node:` module at all may import nevertheless. */
const nodeModules: Readonly<Record<string, readonly string[]>> = { image: [], oci: ["node:crypto"] };

const emptyNames = /^(utils?|helpers?|common|misc|types)$/;

interface Import {
  readonly specifier: string;
  readonly dynamic: boolean;
  /** False for `import type`: nothing is loaded at run time. */
  readonly loads: boolean;
  readonly line: number;
}

interface Source {
  /** From `src/`, with forward slashes. */
  readonly path: string;
  readonly room: string;
  readonly lines: readonly string[];
  readonly imports: readonly Import[];
  /** Lines that call `process.exit` or use `console`. */
  readonly outlets: readonly number[];
}

function roomOf(path: string): string {
  const [first = ""] = path.split("/");
  return first.replace(/\.ts$/, "");
}

function loads(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return !node.isTypeOnly;
  const { importClause } = node;
  if (importClause === undefined) return true;
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return false;
  const { name, namedBindings } = importClause;
  if (name !== undefined || namedBindings === undefined || !ts.isNamedImports(namedBindings)) return true;
  return namedBindings.elements.some((element) => !element.isTypeOnly);
}

function readSource(path: string): Source {
  const text = readFileSync(join(root, "src", path), "utf8");
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const imports: Import[] = [];
  const outlets: number[] = [];
  const lineOf = (node: ts.Node): number => file.getLineAndCharacterOfPosition(node.getStart()).line + 1;
  const visit = (node: ts.Node): void => {
    if (
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) &&
      node.moduleSpecifier !== undefined &&
      ts.isStringLiteral(node.moduleSpecifier)
    ) {
      imports.push({ specifier: node.moduleSpecifier.text, dynamic: false, loads: loads(node), line: lineOf(node) });
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [specifier] = node.arguments;
      if (specifier !== undefined && ts.isStringLiteral(specifier)) {
        imports.push({ specifier: specifier.text, dynamic: true, loads: true, line: lineOf(node) });
      }
    }
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
      imports.push({ specifier: node.argument.literal.text, dynamic: true, loads: false, line: lineOf(node) });
    }
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
      const { text: object } = node.expression;
      if (object === "console" || (object === "process" && node.name.text === "exit")) outlets.push(lineOf(node));
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return { path, room: roomOf(path), lines: text.split("\n"), imports, outlets };
}

/** Everything under `src/` but the tests, which may import what they like. */
const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .map((path) => path.split(sep).join("/"))
  .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
  .sort()
  .map(readSource);

/** The file under `src/` that a relative import names. */
function target(path: string, { specifier }: Import): string {
  return posix.normalize(posix.join(posix.dirname(path), specifier)).replace(/\.js$/, ".ts");
}

/** Each import that leaves its room, with where it stands. */
function crossings(source: Source): { readonly room: string; readonly later: boolean; readonly text: string }[] {
  return source.imports
    .filter(({ specifier }) => specifier.startsWith("."))
    .map((one) => ({
      room: roomOf(target(source.path, one)),
      later: one.dynamic || !one.loads,
      text: `src/${source.path}:${one.line} imports ${one.specifier}`,
    }))
    .filter(({ room }) => room !== source.room && !leaves.includes(room));
}

describe("the rules of the house", () => {
  it("finds the sources", () => {
    expect(sources.map(({ path }) => path)).toContain("errors.ts");
  });

  it("has a rule for every room", () => {
    const unknown = sources.filter(({ room }) => !(room in allowed)).map(({ path }) => `src/${path}`);
    expect(unknown).toEqual([]);
  });

  it("lets a room import only what it may", () => {
    const offending = sources.flatMap((source) =>
      crossings(source)
        .filter(({ room, later }) => {
          const now = allowed[source.room]?.includes(room) === true;
          return !(now || (later && dynamicOnly[source.room]?.includes(room)));
        })
        .map(({ text, room }) => {
          const except = dynamicOnly[source.room]?.includes(room) ? ", except by import()" : "";
          return `${text}: ${source.room} may not import ${room}${except}`;
        }),
    );
    expect(offending).toEqual([]);
  });

  it("keeps names and the vocabulary of the wire pure", () => {
    const offending = sources.flatMap((source) =>
      source.imports
        .filter(({ specifier }) => !specifier.startsWith("."))
        .filter(({ specifier }) => nodeModules[source.room]?.includes(specifier) === false)
        .map(({ specifier, line }) => `src/${source.path}:${line} imports ${specifier}`),
    );
    expect(offending).toEqual([]);
  });

  it("names built-in modules with node:", () => {
    const builtIn =
      /^(assert|buffer|child_process|crypto|events|fs|http|https|net|os|path|stream|tls|url|util|zlib)(\/|$)/;
    const offending = sources.flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => builtIn.test(specifier))
        .map(({ specifier, line }) => `src/${path}:${line} imports ${specifier}`),
    );
    expect(offending).toEqual([]);
  });

  it("prints and exits only in cli/", () => {
    const offending = sources
      .filter(({ room }) => room !== "cli")
      .flatMap(({ path, outlets }) => outlets.map((line) => `src/${path}:${line}`));
    expect(offending).toEqual([]);
  });

  it("has no file names that say nothing", () => {
    const offending = sources
      .filter(({ path }) => emptyNames.test(posix.basename(path, ".ts")))
      .map(({ path }) => path);
    expect(offending).toEqual([]);
  });

  it("names files and folders in kebab-case", () => {
    const offending = sources
      .map(({ path }) => path)
      .filter(
        (path) =>
          !path
            .replace(/\.ts$/, "")
            .split("/")
            .every((part) => /^[a-z0-9]+(-[a-z0-9]+)*$/.test(part)),
      );
    expect(offending).toEqual([]);
  });

  it("gives a reason, in its first comment, for a file over 300 lines", () => {
    const offending = sources
      .filter(({ lines }) => lines.length > 301)
      .filter(({ lines }) => {
        const [comment = ""] = /\/\*[\s\S]*?\*\/|(?:^[ \t]*\/\/.*\n)+/m.exec(lines.join("\n")) ?? [];
        return !/\blines\b|\bone file\b|\bone place\b|\blong\b|\blength\b|\btogether\b/i.test(comment);
      })
      .map(({ path, lines }) => `src/${path} has ${lines.length} lines and its first comment does not say why`);
    expect(offending).toEqual([]);
  });

  it("has no import cycles between files", () => {
    const graph = new Map(
      sources.map(({ path, imports }) => [
        path,
        imports
          .filter((one) => one.specifier.startsWith(".") && one.loads && !one.dynamic)
          .map((one) => target(path, one)),
      ]),
    );
    expect(firstCycle(graph)).toBeNull();
  });
});

/** A cycle as `a -> b -> a`, or null. */
function firstCycle(graph: ReadonlyMap<string, readonly string[]>): string | null {
  const done = new Set<string>();
  const path: string[] = [];
  const walk = (node: string): string | null => {
    const start = path.indexOf(node);
    if (start >= 0) return [...path.slice(start), node].join(" -> ");
    if (done.has(node)) return null;
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      const cycle = walk(next);
      if (cycle !== null) return cycle;
    }
    path.pop();
    done.add(node);
    return null;
  };
  for (const node of graph.keys()) {
    const cycle = walk(node);
    if (cycle !== null) return cycle;
  }
  return null;
}
