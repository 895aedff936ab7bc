import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { localArgument } from "../local-argument.js";

interface Options {
  readonly output: string;
  readonly as?: "docker-archive" | "oci-archive" | "oci-dir";
}

export const save: Implementation<[names: readonly string[]], Options> = async (context, [names], options) => {
  const { stdout } = context.io;
  const toStdout = options.output === "-";
  if (toStdout && stdout.isTTY === true) {
    throw new LadingError("usage", "stdout is a terminal, and an archive is no text", {
      hint: `write it to a file: lading save ${names.join(" ")} -o images.tar`,
    });
  }
  if (toStdout && (options.as === "oci-dir" || context.flags.json === true)) {
    const what = options.as === "oci-dir" ? "a folder" : "the archive beside the JSON";
    throw new LadingError("usage", `stdout can't take ${what}`, { hint: "name a place with -o" });
  }
  const client = await context.client();
  const output = toStdout
    ? async (chunk: Uint8Array) => {
        if (!stdout.write(chunk)) await context.io.flush(stdout);
      }
    : options.output;
  const result = await client.local.save(
    names.map((name) => localArgument(client, name)),
    output,
    { as: options.as ?? null, progress: context.reporter.progress, signal: context.signal },
  );
  const json = result.toJSON();
  return toStdout ? {} : { json, lines: [] };
};
