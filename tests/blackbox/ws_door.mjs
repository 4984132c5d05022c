// SPDX-License-Identifier: Apache-2.0
// The WebSocket doors with the client that Node programs use, npm `ws` (the second implementation, next to Python's).
// node ws_door.mjs DIRECTORY, where DIRECTORY/node_modules/ws is; HTTP names the door. Prints ok and not ok lines.
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';

const WebSocket = createRequire(process.argv[2] + '/')('ws');
const base = `ws://${process.env.HTTP}`;
const PATIENCE = 20000;

// An open connection with a queue of what it was told.
class Peer {
  constructor(path, options) {
    this.ws = new WebSocket(base + path, options);
    this.heard = [];
    this.waiting = [];
    this.ws.on('message', (data, binary) => this.push({ data, binary }));
    this.ws.on('pong', (data) => this.push({ pong: data.toString() }));
    this.ws.on('close', (code, reason) => this.push({ code, reason: reason.toString() }));
    this.ws.on('error', () => {});
  }

  push(what) {
    const next = this.waiting.shift();
    if (next) next(what);
    else this.heard.push(what);
  }

  next() {
    if (this.heard.length > 0) return Promise.resolve(this.heard.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing heard in time')), PATIENCE);
      this.waiting.push((what) => { clearTimeout(timer); resolve(what); });
    });
  }

  async json() {
    const { data } = await this.next();
    return JSON.parse(data.toString());
  }

  static async open(path, options) {
    const peer = new Peer(path, options);
    if (peer.ws.readyState !== WebSocket.OPEN) {
      await new Promise((resolve, reject) => {
        peer.ws.once('open', resolve);
        peer.ws.once('error', reject);
      });
    }
    if (path.startsWith('/events/stream')) assert.equal((await peer.json()).type, 'connected');
    return peer;
  }

  async end(code = 1000) {
    this.ws.close(code);
    assert.equal((await this.next()).code, code);
  }
}

const cart = (eventId) => ({
  type: 'cart_event',
  data: { eventId, eventType: 'checkout_started', userId: 'ws-test-user-456', metadata: { cartValue: 59.98, itemCount: 2 },
    timestamp: new Date().toISOString() },
});

const cases = {
  async 'a cart_event is accepted, then a duplicate'() {
    const peer = await Peer.open('/events/stream');
    const id = randomUUID();
    for (const status of ['accepted', 'duplicate']) {
      peer.ws.send(JSON.stringify(cart(id)));
      const answer = await peer.json();
      assert.deepEqual([answer.type, answer.eventId, answer.status], ['ack', id, status]);
    }
    peer.ws.send(JSON.stringify({ type: 'unknown' }));
    assert.equal((await peer.json()).code, 'UNSUPPORTED_TYPE');
    await peer.end();
  },

  async 'a thousand events without waiting, acknowledged in order'() {
    const peer = await Peer.open('/events/stream');
    const ids = Array.from({ length: 1000 }, () => randomUUID());
    for (const id of ids) peer.ws.send(JSON.stringify(cart(id)));
    for (const id of ids) assert.equal((await peer.json()).eventId, id);
    await peer.end(4000);
  },

  async 'compressed, with and without'() {
    for (const perMessageDeflate of [true, false, { serverNoContextTakeover: true, clientMaxWindowBits: 10 }]) {
      const peer = await Peer.open('/echo', { perMessageDeflate });
      assert.equal(peer.ws.extensions !== '', perMessageDeflate !== false);
      for (const text of ['', 'kurz', 'ä€😀'.repeat(20000)]) {
        peer.ws.send(text);
        const echoed = await peer.next();
        assert.equal(echoed.data.toString(), text);
        assert.equal(echoed.binary, false);
      }
      const bytes = randomBytes(300000);
      peer.ws.send(bytes);
      assert.ok((await peer.next()).data.equals(bytes));
      await peer.end();
    }
  },

  async 'fragments with a ping between'() {
    const peer = await Peer.open('/echo', { perMessageDeflate: false });
    peer.ws.send('one ', { fin: false });
    peer.ws.ping('are you there');
    peer.ws.send('two ', { fin: false });
    peer.ws.send('three', { fin: true });
    assert.equal((await peer.next()).pong, 'are you there');
    assert.equal((await peer.next()).data.toString(), 'one two three');
    await peer.end();
  },

  async 'sixteen mebibytes there and back'() {
    const peer = await Peer.open('/echo', { perMessageDeflate: false, maxPayload: 32 << 20 });
    const bytes = Buffer.alloc(16 << 20, 'ringmain');
    peer.ws.send(bytes);
    assert.ok((await peer.next()).data.equals(bytes));
    peer.ws.send(Buffer.alloc((16 << 20) + 1));
    assert.equal((await peer.next()).code, 1009);
  },

  async 'the sink counts'() {
    const peer = await Peer.open('/sink');
    for (let i = 0; i < 5000; i++) peer.ws.send('x');
    peer.ws.send('COUNT');
    assert.equal((await peer.next()).data.toString(), '5000');
    await peer.end();
  },

  async 'a strange origin is refused'() {
    const status = (origin) => new Promise((resolve) => {
      const ws = new WebSocket(`${base}/events/stream`, { origin });
      ws.on('unexpected-response', (_, response) => { resolve(response.statusCode); ws.on('error', () => {}); ws.terminate(); });
      ws.on('open', () => { resolve(101); ws.terminate(); });
    });
    assert.equal(await status('https://evil.test'), 403);
    assert.equal(await status('http://localhost:3000'), 101);
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok npm ws: ${name}`);
  } catch (error) {
    failed++;
    console.log(`not ok npm ws: ${name}\n${error.stack}`);
  }
}
process.exit(failed > 0 ? 1 : 0);
