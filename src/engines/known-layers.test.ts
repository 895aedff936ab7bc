import { expect, it } from "vitest";
import { digestOf } from "../oci/digest.js";
import { knownPrefix } from "./known-layers.js";

const [a, b, c, d] = ["a", "b", "c", "d"].map((text) => digestOf(text)) as [
  ReturnType<typeof digestOf>,
  ReturnType<typeof digestOf>,
  ReturnType<typeof digestOf>,
  ReturnType<typeof digestOf>,
];

it("knows the longest common beginning", () => {
  expect([...knownPrefix([a, b, c], [[a], [a, b, d], [b, c]])]).toEqual([a, b]);
  expect([...knownPrefix([a, b], [[a, b, c]])]).toEqual([a, b]);
});

it("knows nothing of a layer on another ground", () => {
  expect(knownPrefix([b, a], [[a, b]]).size).toBe(0);
  expect(knownPrefix([a], []).size).toBe(0);
});

it("does not know a layer that is needed again further up", () => {
  expect([...knownPrefix([a, b, a], [[a, b]])]).toEqual([b]);
});
