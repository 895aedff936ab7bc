import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Files as docker names them, made by openssl: an authority, a server and a client. */
export interface Certificates {
  readonly serverFolder: string;
  readonly clientFolder: string;
}

/**
 * Makes both folders below `folder`, each with `ca.pem`, `cert.pem` and `key.pem`.
 * @param hosts DNS names of the server, beside 127.0.0.1 and localhost.
 * @param days How long the server's and the client's are good; less than 0 for some that have expired.
 */
export async function makeCertificates(folder: string, hosts: readonly string[] = [], days = 2): Promise<Certificates> {
  const [serverFolder, clientFolder] = [join(folder, "server"), join(folder, "client")];
  await Promise.all([mkdir(serverFolder, { recursive: true }), mkdir(clientFolder, { recursive: true })]);
  const [caKey, ca] = [join(folder, "ca-key.pem"), join(folder, "ca.pem")];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(["req", "-x509", ...key, "-keyout", caKey, "-out", ca, "-days", "2", "-subj", "/CN=lading test authority"]);
  const sign = async (target: string, name: string, extensions: string): Promise<void> => {
    const [request, file] = [join(folder, `${name}.csr`), join(folder, `${name}.ext`)];
    await writeFile(file, extensions);
    openssl(["req", ...key, "-keyout", join(target, "key.pem"), "-out", request, "-subj", `/CN=${name}`]);
    const signing = ["-CA", ca, "-CAkey", caKey, "-CAcreateserial", "-days", String(days), "-extfile", file];
    openssl(["x509", "-req", "-in", request, "-out", join(target, "cert.pem"), ...signing]);
    openssl(["x509", "-in", ca, "-out", join(target, "ca.pem")]);
  };
  const names = `subjectAltName=${["IP:127.0.0.1", "DNS:localhost", ...hosts.map((host) => `DNS:${host}`)].join()}`;
  await sign(serverFolder, "server", `${names}\nextendedKeyUsage=serverAuth\n`);
  await sign(clientFolder, "client", "extendedKeyUsage=clientAuth\n");
  return { serverFolder, clientFolder };
}

function openssl(list: readonly string[]): void {
  const { status, stderr, error } = spawnSync("openssl", list, { encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${list[0]} ended with ${status}: ${stderr || error}`);
}
