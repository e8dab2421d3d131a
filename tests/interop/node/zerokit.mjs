// zerokit's wasm as a child of the interop test: one JSON request a line, one JSON answer a line.
//
// usage: node zerokit.mjs ZKEY CIRCUIT
//   ZKEY     the proving key as snarkjs writes it
//   CIRCUIT  the circuit's witness program, compiled by circom
// All byte strings are hex.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import init, * as zerokit from "@waku/zerokit-rln-wasm";

const [zkey, circuit] = process.argv.slice(2).map((path) => readFileSync(path));
const folder = createRequire(import.meta.url).resolve("@waku/zerokit-rln-wasm/rln_wasm_bg.wasm");
await init({ module_or_path: readFileSync(folder) });
const rln = zerokit.newRLN(new Uint8Array(zkey));

const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");

/** Names of signals are FNV-1a hashes of 64 bits in circom's programs. */
function named(name) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(name)) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return [Number(hash >> 32n), Number(hash & 0xffffffffn)];
}

/** Runs the circuit's program over named inputs; returns every wire, as it numbers them. */
async function witness(inputs) {
  const fail = (code) => {
    throw new Error(`the circuit's program stopped with code ${code}`);
  };
  const quiet = () => {};
  const { instance } = await WebAssembly.instantiate(circuit, {
    runtime: {
      exceptionHandler: fail,
      printErrorMessage: quiet,
      writeBufferMessage: quiet,
      showSharedRWMemory: quiet,
    },
  });
  const program = instance.exports;
  const words = program.getFieldNumLen32();
  program.init(1);
  for (const [name, value] of Object.entries(inputs)) {
    const [high, low] = named(name);
    [value].flat().forEach((text, at) => {
      let rest = BigInt(text);
      for (let word = 0; word < words; word++, rest >>= 32n) {
        program.writeSharedRWMemory(word, Number(rest & 0xffffffffn));
      }
      program.setInputSignal(high, low, at);
    });
  }
  return Array.from({ length: program.getWitnessSize() }, (_, wire) => {
    program.getWitness(wire);
    let value = 0n;
    for (let word = words - 1; word >= 0; word--) {
      value = (value << 32n) | BigInt(program.readSharedRWMemory(word) >>> 0);
    }
    return value;
  });
}

const does = {
  hash: async ({ data }) => hex(zerokit.hash(bytes(data))),
  prove: async ({ witness: serialised }) => {
    const data = bytes(serialised);
    const wires = await witness(zerokit.rlnWitnessToJson(rln, data));
    return hex(zerokit.generateRLNProofWithWitness(rln, wires, data));
  },
  verify: async ({ message, roots }) => zerokit.verifyWithRoots(rln, bytes(message), bytes(roots)),
  recover: async ({ first, second }) => hex(zerokit.recovedIDSecret(rln, bytes(first), bytes(second))),
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: await does[request.do](request) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error).slice(0, 500) }));
  }
}
