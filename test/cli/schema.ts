import { readFileSync } from "node:fs";
import { Ajv, type ValidateFunction } from "ajv";
import { expect } from "vitest";

const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false });
const compiled = new Map<string, ValidateFunction>();

/** Holds a value to the shipped schema of a verb, and gives it back. */
export function conforms(verb: string, value: unknown): unknown {
  let validate = compiled.get(verb);
  if (validate === undefined) {
    const text = readFileSync(new URL(`../../schemas/${verb}.json`, import.meta.url), "utf8");
    validate = ajv.compile(JSON.parse(text) as object);
    compiled.set(verb, validate);
  }
  validate(value);
  expect(validate.errors ?? [], `${verb}: ${JSON.stringify(value).slice(0, 2000)}`).toEqual([]);
  return value;
}
