import { isIP } from "node:net";

/**
 * Whether a host answers a TLS handshake, whoever vouches for its certificate: what decides between https and http
 * where both are allowed. Nothing of ours is sent. A host that does not answer at all counts as one without.
 * @param authority `host[:port]`; the port of https where none is given.
 * @param options `timeout`: how long the host may be silent, in ms.
 */
export async function speaksTls(authority: string, { timeout }: { readonly timeout: number }): Promise<boolean> {
  const { hostname, port } = new URL(`https://${authority}`);
  const host = hostname.replace(/^\[|\]$/g, "");
  const { connect } = await import("node:tls");
  return await new Promise<boolean>((resolve) => {
    const socket = connect({
      host,
      port: port === "" ? 443 : Number(port),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      rejectUnauthorized: false,
    });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(timeout, () => end(false));
    socket.once("secureConnect", () => end(true));
    // It stays, for what may still come after the end.
    socket.on("error", () => end(false));
    socket.once("close", () => end(false));
  });
}
