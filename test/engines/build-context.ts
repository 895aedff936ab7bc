import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { missingPrograms, findProgram, output } from "../support/programs.js";

/** A program that needs nothing beside itself, and so runs in an image made FROM scratch. */
const staticProgram = "crane";

/** Why nothing can be built here, or null. */
export const nothingToBuild: string | null = missingPrograms([staticProgram, "tar"]);

/** What a container of the built image prints. */
export async function expectedOutput(): Promise<string> {
  return await output(staticProgram, ["version"]);
}

/**
 * Writes a Dockerfile and what it adds: a program, a layer that stays, and a small one on top that differs by `top`.
 * Made of three layers, with labels, an environment and an entry point.
 */
export async function writeBuildContext(folder: string, top: string): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const program = findProgram(staticProgram);
  if (program === null) throw new Error(`${staticProgram} is not here`);
  await copyFile(program, join(folder, "program"));
  await writeFile(join(folder, "base.txt"), "the same in all\n");
  await writeFile(join(folder, "top.txt"), `${top}\n`);
  const dockerfile = [
    "FROM scratch",
    'LABEL org.example.job="the main one"',
    "ENV GREETING=hello",
    "ADD program /bin/program",
    "ADD base.txt /base.txt",
    "WORKDIR /",
    'ENTRYPOINT ["/bin/program"]',
    'CMD ["version"]',
    "ADD top.txt /top.txt",
  ];
  await writeFile(join(folder, "Dockerfile"), `${dockerfile.join("\n")}\n`);
  return folder;
}
