// SPDX-License-Identifier: Apache-2.0
// What the tests with stock clients share. node X.mjs NPM WAY: NPM has the packages in node_modules/, WAY is polling,
// websocket or upgrade. In the environment: HTTP, the door; SECRET, with which tokens are signed; LABEL for the names of
// cases. Waits for what must come, never for a length of time.
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { createHmac, randomUUID } from 'node:crypto';

const need = createRequire(process.argv[2] + '/');
export const { io } = need('socket.io-client');
export const WebSocket = need('ws');
export const { EventSource } = need('eventsource');
export { assert, randomUUID };

export const door = `http://${process.env.HTTP}`;
export const way = process.argv[3];
export const transports = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] }[way];
const PATIENCE = 20000;

// ── tokens ──

const base64url = (value) => Buffer.from(value).toString('base64url');

// A token as an issuer makes it; `header` and `secret` for those that none would.
export function mint(user, claims = {}, { header = {}, secret = process.env.SECRET } = {}) {
  const head = base64url(JSON.stringify({ alg: 'HS256', typ: 'JWT', ...header }));
  const body = base64url(JSON.stringify({ sub: user, exp: Math.floor(Date.now() / 1000) + 3600, ...claims }));
  return `${head}.${body}.${createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url')}`;
}

// Nobody else's: tests share a server.
export const unique = (what) => `${what}-${randomUUID().slice(0, 8)}`;

// ── waiting ──

export async function until(what, question) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}

// What somebody has heard, by name, in order: next() takes the oldest of a name, waiting for it.
class Heard {
  constructor(who) {
    this.who = who;
    this.all = [];
    this.taken = new Set();
  }

  push(name, data) {
    this.all.push({ name, data });
  }

  async next(name, matches = () => true) {
    const found = () => this.all.find((h) => h.name === name && !this.taken.has(h) && matches(h.data));
    const end = Date.now() + PATIENCE;
    while (!found()) {
      if (Date.now() > end) {
        throw new Error(`${this.who} never heard ${name}; heard ${JSON.stringify(this.all.slice(-5)).slice(0, 600)}`);
      }
      await new Promise((go) => setTimeout(go, 5));
    }
    const one = found();
    this.taken.add(one);
    return one.data;
  }

  count(name) {
    return this.all.filter((h) => h.name === name).length;
  }
}

// ── clients ──

const open = new Set();

// A Socket.IO client that remembers what it hears. `connect_error` and `disconnect` are heard too.
export class Client extends Heard {
  constructor(token, { namespace = '', ...options } = {}) {
    super(`client of ${namespace || '/'}`);
    this.socket = io(door + namespace,
      { auth: token ? { token } : {}, forceNew: true, reconnection: false, transports, ...options });
    this.socket.onAny((name, ...data) => this.push(name, data[0]));
    this.socket.on('connect', () => this.push('connect', this.socket.id));
    this.socket.on('connect_error', (error) => this.push('connect_error', error.message));
    this.socket.on('disconnect', (reason) => this.push('disconnect', reason));
    open.add(this);
  }

  // Connected, greeted, and on the transport that it is to end on.
  static async open(token, options) {
    const client = new Client(token, options);
    await until('connect', () => client.socket.connected || client.count('connect_error') > 0);
    if (!client.socket.connected) throw new Error(`connect_error: ${await client.next('connect_error')}`);
    client.greeting = await client.next('connected');
    const last = transports.at(-1);
    await until(`transport ${last}`, () => client.socket.io.engine.transport.name === last);
    return client;
  }

  // Emits, and waits for the acknowledgement: what was sent before it has been dealt with.
  ask(name, data) {
    return this.socket.timeout(PATIENCE).emitWithAck(name, data);
  }

  emit(name, data) {
    this.socket.emit(name, data);
  }

  say(type, data) {
    this.emit('message', { type, data });
  }

  async join(roomId) {
    this.emit('join_room', { roomId });
    assert.deepEqual(await this.next('joined_room', (d) => d.roomId === roomId), { roomId });
  }

  close() {
    this.socket.disconnect();
  }
}

// A plain WebSocket that speaks JSON.
export class Plain extends Heard {
  constructor(path, options) {
    super(path.split('?')[0]);
    this.ws = new WebSocket(door.replace('http', 'ws') + path, options);
    this.ws.on('open', () => this.push('open'));
    this.ws.on('message', (text) => this.push('message', JSON.parse(text.toString())));
    this.ws.on('unexpected-response', (_, response) => this.push('refused', response.statusCode));
    this.ws.on('close', (code) => this.push('close', code));
    this.ws.on('error', () => {});
    open.add(this);
  }

  static async open(path, options) {
    const plain = new Plain(path, options);
    await plain.next('open');
    return plain;
  }

  send(value) {
    this.ws.send(JSON.stringify(value));
  }

  close() {
    this.ws.terminate();
  }
}

// Server-Sent Events by an EventSource.
export class Stream extends Heard {
  constructor(path) {
    super(path.split('?')[0]);
    this.source = new EventSource(door + path);
    this.source.onopen = () => this.push('open');
    this.source.onmessage = (event) => this.push('message', { ...JSON.parse(event.data), id: event.lastEventId });
    this.source.onerror = (error) => this.push('error', error.code);
    open.add(this);
  }

  static async open(path) {
    const stream = new Stream(path);
    await stream.next('open');
    return stream;
  }

  close() {
    this.source.close();
  }
}

// {status, body} of a request with JSON both ways.
export async function request(method, path, { token, body, headers = {} } = {}) {
  const response = await fetch(door + path, {
    method,
    headers: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE),
  });
  const text = await response.text();
  let parsed = text;
  try {
    parsed = JSON.parse(text);
  } catch {
    // as it stands
  }
  return { status: response.status, body: parsed };
}

// Events by a producer; all must be taken.
export async function produce(events, token = mint('producer', { scope: 'ingest ingest:any' })) {
  const { status, body } = await request('POST', '/events', { token, body: events });
  assert.deepEqual([status, body.rejected], [202, []], JSON.stringify(body));
}

export async function publish(to, event, data) {
  const { status, body } = await request('POST', '/api/publish',
    { token: mint('server', { scope: 'publish' }), body: { to, event, data } });
  assert.ok(status >= 200 && status < 300, `${status} ${JSON.stringify(body)}`);
}

export const keysOf = (object) => Object.keys(object).sort();

export async function run(cases) {
  const label = process.env.LABEL ? `${process.env.LABEL}: ` : '';
  const only = process.env.CASE;
  for (const [name, one] of Object.entries(cases)) {
    if (only && !name.includes(only)) continue;
    try {
      await one();
      console.log(`ok ${label}${name}`);
    } catch (error) {
      console.log(`not ok ${label}${name}`);
      console.log(`${error.stack || error}`.split('\n').slice(0, 12).map((line) => `  # ${line}`).join('\n'));
    }
    for (const one of open) one.close();
    open.clear();
  }
  process.exit(0);
}
