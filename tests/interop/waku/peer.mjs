// A Waku relay in JavaScript, driven by lines of JSON: what it hears it prints, what it is told it does.
import { createInterface } from "node:readline";

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { identify } from "@libp2p/identify";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { messageHash } from "@waku/message-hash";
import { proto_message, proto_store } from "@waku/proto";
import { wakuGossipSub } from "@waku/relay";
import { contentTopicToShardIndex } from "@waku/utils";
import { createLibp2p } from "libp2p";

// Newer than Node 20, and used by what libp2p is made of.
Promise.withResolvers ??= function () {
  const made = {};
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const hex = (bytes) => (bytes === undefined ? null : Buffer.from(bytes).toString("hex"));
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

// Bytes are hexadecimal on the lines, 64-bit numbers are text.
const asObject = (fields) => ({
  ...fields,
  payload: bytes(fields.payload),
  meta: fields.meta == null ? undefined : bytes(fields.meta),
  timestamp: fields.timestamp == null ? undefined : BigInt(fields.timestamp),
  rateLimitProof:
    fields.rateLimitProof == null
      ? undefined
      : Object.fromEntries(Object.entries(fields.rateLimitProof).map(([k, v]) => [k, bytes(v)])),
});
const asFields = (message) => ({
  payload: hex(message.payload),
  contentTopic: message.contentTopic,
  version: message.version ?? null,
  timestamp: message.timestamp === undefined ? null : message.timestamp.toString(),
  meta: hex(message.meta),
  ephemeral: message.ephemeral ?? null,
  rateLimitProof:
    message.rateLimitProof === undefined
      ? null
      : Object.fromEntries(Object.entries(message.rateLimitProof).map(([k, v]) => [k, hex(v)])),
});

const node = await createLibp2p({
  addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
  transports: [tcp()],
  connectionEncryption: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), pubsub: wakuGossipSub({ emitSelf: false }) },
});
const pubsub = node.services.pubsub;
pubsub.addEventListener("gossipsub:message", ({ detail }) => {
  const { topic, data } = detail.msg;
  const message = proto_message.WakuMessage.decode(data);
  say({ heard: asFields(message), hash: hex(messageHash(topic, message)), signed: detail.msg.type === "signed" });
});

const commands = {
  encode: ({ fields }) => hex(proto_message.WakuMessage.encode(asObject(fields))),
  decode: ({ data }) => asFields(proto_message.WakuMessage.decode(bytes(data))),
  hash: ({ topic, fields }) => hex(messageHash(topic, asObject(fields))),
  shard: ({ topic, shards }) => contentTopicToShardIndex(topic, shards),
  question: ({ data }) => {
    const found = proto_store.StoreQueryRequest.decode(bytes(data));
    return { again: hex(proto_store.StoreQueryRequest.encode(found)), topics: found.contentTopics };
  },
  page: ({ data }) => {
    const found = proto_store.StoreQueryResponse.decode(bytes(data));
    return {
      again: hex(proto_store.StoreQueryResponse.encode(found)),
      hashes: found.messages.map((row) => hex(row.messageHash)),
    };
  },
  subscribe: ({ topic }) => pubsub.subscribe(topic) ?? null,
  dial: async ({ address }) => {
    await node.dial(multiaddr(address));
    return null;
  },
  peers: ({ topic }) => pubsub.getSubscribers(topic).length,
  publish: async ({ topic, fields }) => {
    const sent = await pubsub.publish(topic, proto_message.WakuMessage.encode(asObject(fields)));
    return sent.recipients.length;
  },
};

say({ address: node.getMultiaddrs()[0].toString() });
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  try {
    say({ answer: await commands[command](rest) });
  } catch (error) {
    say({ failed: String(error) });
  }
}
await node.stop();
process.exit(0);
