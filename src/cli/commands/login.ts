import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { ask, canAsk, passwordFromStdin } from "../prompt.js";

interface Options {
  readonly username?: string;
  readonly passwordStdin?: boolean;
}

export const login: Implementation<[target: string | undefined], Options> = async (context, [target], options) => {
  const { io, signal } = context;
  // At once, before anything is read or dialled: a script must not hang here.
  if (options.passwordStdin !== true && !canAsk(io)) {
    throw new LadingError("usage", "there is no terminal to ask for the password", {
      hint: "lading login -u USER --password-stdin < FILE",
    });
  }
  if (options.passwordStdin === true && options.username === undefined) {
    throw new LadingError("usage", "--password-stdin needs --username", {
      hint: "lading login -u USER --password-stdin < FILE",
    });
  }
  const client = await context.client();
  const username = options.username ?? (await answer(ask(io, "Username: ", { signal })));
  const password =
    options.passwordStdin === true
      ? await passwordFromStdin(io)
      : await answer(ask(io, "Password: ", { hidden: true, signal }));
  const result = await client.login({ registry: target ?? null, username, password, signal });
  const json = result.toJSON();
  context.reporter.note(`logged in to ${json.registry} as ${json.username}; stored in ${json.storedIn}`);
  return { json, lines: [] };
};

async function answer(asked: Promise<string | null>): Promise<string> {
  const text = await asked;
  if (text !== null && text !== "") return text;
  throw new LadingError("usage", "no answer was given");
}
