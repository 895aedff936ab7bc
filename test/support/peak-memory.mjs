// Loaded into a child with `--import`: leaves the peak of its resident memory, in bytes, in the file that LADING_PEAK names.
import { writeFileSync } from "node:fs";

const file = process.env.LADING_PEAK;
if (file) process.on("exit", () => writeFileSync(file, String(process.resourceUsage().maxRSS * 1024)));
