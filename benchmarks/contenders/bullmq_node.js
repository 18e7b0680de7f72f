// BullMQ on Node.
//
// Configured: ioredis, as many slots, completed jobs removed, and kept for 300 s where the result
// is asked for (a result is part of its job). Bulk is addBulk. ioredis' auto-pipelining is off:
// BullMQ's maintainer does not expect it to work in all that BullMQ does, nor to gain much. The
// typed payload is checked by hand, which costs less than any library for it.
//
// It is told by the same environment as the Python contenders (see told.py), and finds its
// packages in BENCH_PEERS, a folder that has bullmq_node/node_modules; .peers by default.
'use strict';

const fs = require('fs');
const path = require('path');
const { setTimeout: pause } = require('timers/promises');

const CANNOT = 64;
const IN_FLIGHT = 100;
const PACE_MS = 20;
const BATCH = 1000;
const QUEUE = 'bench';

const told = process.env;
const peers = told.BENCH_PEERS || path.join(__dirname, '..', '..', '.peers');
const { Queue, Worker } = require(
  require.resolve('bullmq', { paths: [path.join(peers, 'bullmq_node')] }),
);

const url = new URL(told.BENCH_URL || 'redis://127.0.0.1:6379/0');
const connection = {
  host: url.hostname,
  port: Number(url.port || 6379),
  db: Number(url.pathname.slice(1) || 0),
};
const slots = Number(told.BENCH_SLOTS || 64);
const jobs = Number(told.BENCH_JOBS || 1000);
const handler = told.BENCH_HANDLER || 'noop';
const padded = Number(told.BENCH_PADDING || 0);
const opts = { removeOnComplete: handler === 'typed' ? { age: 300 } : true };

let file;
function leave(text) {
  file ??= fs.openSync(told.BENCH_MARK || '/dev/null', 'a');
  fs.writeSync(file, text);
}

const nowNs = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;

function order(number) {
  const lines = [1, 2, 3, 4, 5].map((line) => ({ sku: `A${line}`, quantity: line, price: 995 }));
  return { id: number, customer: 'Ada', lines };
}

function receipt({ id, customer, lines }) {
  const whole = lines.every(
    (line) =>
      typeof line.sku === 'string' &&
      Number.isInteger(line.quantity) &&
      Number.isInteger(line.price),
  );
  if (!Number.isInteger(id) || typeof customer !== 'string' || !whole) {
    throw new TypeError('not an order');
  }
  return { id, total: lines.reduce((sum, line) => sum + line.quantity * line.price, 0) };
}

function payload(number) {
  if (handler === 'typed') return order(number);
  // A number of nanoseconds does not fit a double, so it travels as text.
  if (handler === 'wait') return { sent_ns: String(nowNs()) };
  if (!padded) return { n: number };
  const text = 'x'.repeat(padded - JSON.stringify({ n: number, text: '' }).length);
  return { n: number, text };
}

const handlers = {
  async noop() {
    leave('x');
  },
  async sleep() {
    await pause(Math.random() * 20);
    leave('x');
  },
  async typed(job) {
    leave('x');
    return receipt(job.data);
  },
  async wait(job) {
    leave(`${(nowNs() - BigInt(job.data.sent_ns)) / 1000n}\n`);
  },
};

async function oneByOne(queue, paceMs) {
  for (let number = 0; number < jobs; number++) {
    await queue.add(handler, payload(number), opts);
    if (paceMs) await pause(paceMs);
  }
}

async function concurrently(queue) {
  let next = 0;
  async function emitOn() {
    while (next < jobs) await queue.add(handler, payload(next++), opts);
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, emitOn));
}

// Returns how long the calls took (ms), without the making of what they are given.
async function inBulk(queue) {
  let spent = 0;
  for (let first = 0; first < jobs; first += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, jobs - first) }, (_, i) => ({
      name: handler,
      data: payload(first + i),
      opts,
    }));
    const began = performance.now();
    await queue.addBulk(batch);
    spent += performance.now() - began;
  }
  return spent;
}

const emits = {
  'emit-sequential': (queue) => oneByOne(queue, 0),
  'emit-paced': (queue) => oneByOne(queue, PACE_MS),
  'emit-concurrent': concurrently,
  'emit-bulk': inBulk,
};

async function emit(way) {
  const queue = new Queue(QUEUE, { connection });
  await queue.waitUntilReady();
  const began = performance.now();
  const spent = (await way(queue)) ?? performance.now() - began;
  console.log(JSON.stringify({ jobs, seconds: spent / 1000 }));
  await queue.close();
}

function work() {
  new Worker(QUEUE, (job) => handlers[job.name](job), { connection, concurrency: slots });
}

function giveUp(why) {
  console.error(`bullmq_node.js cannot do it: ${why}`);
  process.exit(CANNOT);
}

const mode = process.argv[2];
if (!handlers[handler]) giveUp(`${handler}: Node has no synchronous handlers beside its loop`);
else if (mode === 'work') work();
else if (emits[mode]) emit(emits[mode]);
else giveUp(`there is no mode '${mode}'; there are work, ${Object.keys(emits).join(', ')}`);
