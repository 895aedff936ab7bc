import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";
import { formatSize, parseSize } from "../size.js";
import { type UpkeepPlace, withUpkeep } from "../upkeep-access.js";

interface Options extends UpkeepPlace {
  readonly quick?: boolean;
  readonly quarantine?: boolean;
  readonly rate?: string;
}

export const check: Implementation<[], Options> = async (context, _args, options) => {
  const rate = options.rate === undefined ? undefined : parseSize(options.rate);
  const { quick, quarantine } = options;
  const json = await withUpkeep(context, options, (upkeep) =>
    upkeep.check({ quick, quarantine, rate, signal: context.signal }),
  );
  const lines = [
    `${json.repositories} repositories, ${json.tags} tags, ${json.manifests} manifests, ${json.blobs} blobs, ${formatSize(json.bytes)} read`,
    ...json.problems.map(({ kind, repository, tag, digest }) => {
      const name = `${repository ?? ""}${tag === null ? "" : `:${tag}`}`;
      return safeText(`${kind}  ${[name, digest ?? ""].filter((part) => part !== "").join("  ")}`);
    }),
  ];
  if (json.ok) return { json, lines };
  const corrupt = json.problems.some(({ kind }) => kind === "blob-corrupt");
  const verdict = new LadingError("digest-mismatch", `${json.problems.length} things are broken`, {
    operation: "registry check",
    hint:
      corrupt && quarantine !== true
        ? "--quarantine takes corrupt blobs out of reach, so that pushing them again repairs them"
        : corrupt
          ? "push again the images that have what was corrupt"
          : "push again what is missing; where that changes nothing, after `lading rm` of the tags that need it",
  });
  return { json, lines, verdict };
};
