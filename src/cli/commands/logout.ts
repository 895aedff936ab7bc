import type { Implementation } from "../command.js";

export const logout: Implementation<[target: string | undefined], unknown> = async (context, [target]) => {
  const client = await context.client();
  const json = (await client.logout(target ?? null)).toJSON();
  context.reporter.note(
    json.removed ? `logged out of ${json.registry}` : `there were no credentials of ${json.registry}`,
  );
  return { json, lines: [] };
};
