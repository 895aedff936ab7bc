import { spawn, spawnSync } from "node:child_process";
import { access, chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { answers, stopProcess, waitFor } from "./engines.js";

/** An ssh server of our own on a free port of this machine, and an `ssh` on a PATH of its own that knows it. */
export interface RunningSshd {
  readonly port: number;
  readonly user: string;
  /** A folder for PATH: its `ssh` uses the keys made here, and nothing of `~/.ssh`. */
  readonly binFolder: string;
  stop(): Promise<void>;
}

const sshd = "/usr/sbin/sshd";

/** Null where it can be started here, else why not. */
export async function sshdAvailable(): Promise<string | null> {
  if (process.getuid?.() !== 0) return "sshd is started as root only";
  for (const path of [sshd, "/usr/bin/ssh", "/usr/bin/ssh-keygen"]) {
    if (
      !(await access(path)
        .then(() => true)
        .catch(() => false))
    )
      return `${path} is not installed`;
  }
  return null;
}

export async function startSshd(): Promise<RunningSshd> {
  const folder = await mkdtemp(join(tmpdir(), "lading-sshd-"));
  const user = userInfo().username;
  const port = await freePort();
  const [hostKey, userKey, binFolder] = [join(folder, "host"), join(folder, "user"), join(folder, "bin")];
  for (const key of [hostKey, userKey]) run("/usr/bin/ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  // Its privilege separation wants this one, whatever its configuration says.
  await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const serverConfig = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${userKey}.pub`,
    `PidFile ${join(folder, "pid")}`,
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
  ];
  const clientConfig = [
    "Host *",
    `  IdentityFile ${userKey}`,
    "  IdentitiesOnly yes",
    `  UserKnownHostsFile ${join(folder, "known")}`,
    "  StrictHostKeyChecking accept-new",
    "  BatchMode yes",
  ];
  await writeFile(join(folder, "sshd_config"), `${serverConfig.join("\n")}\n`);
  await writeFile(join(folder, "ssh_config"), `${clientConfig.join("\n")}\n`);
  await mkdir(binFolder);
  // OpenSSH takes the home folder from the user database: HOME can't send it elsewhere.
  await writeFile(join(binFolder, "ssh"), `#!/bin/sh\nexec /usr/bin/ssh -F '${join(folder, "ssh_config")}' "$@"\n`);
  await chmod(join(binFolder, "ssh"), 0o755);

  const child = spawn(sshd, ["-D", "-e", "-f", join(folder, "sshd_config")], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const stop = async (): Promise<void> => {
    await stopProcess(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await waitFor(
      () => answers(port),
      child,
      () => log,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, user, binFolder, stop };
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

function run(program: string, list: readonly string[]): void {
  const { status, stderr } = spawnSync(program, list, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr}`);
}
