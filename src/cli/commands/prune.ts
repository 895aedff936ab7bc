import type { Implementation } from "../command.js";
import { parseAge } from "../duration.js";
import { formatSize } from "../size.js";

interface Options {
  readonly dryRun?: boolean;
  readonly olderThan?: string;
}

export const prune: Implementation<[], Options> = async (context, _args, { dryRun = false, olderThan }) => {
  const client = await context.client();
  const age = olderThan === undefined ? null : parseAge(olderThan) / 1000;
  const result = await client.local.prune({ dryRun, olderThan: age, signal: context.signal });
  const json = result.toJSON();
  const verb = dryRun ? "would free" : "freed";
  context.reporter.note(`${verb} ${formatSize(json.freed)} (${json.freed} bytes) in ${json.store}`);
  return { json, lines: json.removed.map(({ kind, digest, size }) => `${kind}  ${digest ?? "unfinished"}  ${size}`) };
};
