// SPDX-License-Identifier: Apache-2.0
// Socket.IO: node socketio.mjs NPM PART, with HTTP and SECRET in the environment and LABEL in front of every name.
//   protocol  packets made by hand, on the namespaces of debug.echo
//   clients   socket.io-client 4 by every transport: rooms, projects, messages, acknowledgements, recovery
//   old       socket.io-client 2 and 3, with socketio.eio3
//   limits    rates, connections, tokens that expire: with the options that socketio_test.sh gives
// Waits for what must come, never for a length of time.
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { createHmac, randomUUID } from 'node:crypto';

const need = createRequire(process.argv[2] + '/');
const part = process.argv[3];
const door = `http://${process.env.HTTP}`;
const PATIENCE = 20000;
let failures = 0;

const base64url = (value) => Buffer.from(value).toString('base64url');
function mint(user, claims = {}) {
  const body = [{ alg: 'HS256', typ: 'JWT' }, { sub: user, exp: Math.floor(Date.now() / 1000) + 3600, ...claims }]
    .map((o) => base64url(JSON.stringify(o))).join('.');
  return `${body}.${createHmac('sha256', process.env.SECRET).update(body).digest('base64url')}`;
}
const unique = (what) => `${what}-${randomUUID().slice(0, 8)}`;

async function test(name, run) {
  const open = [];
  try {
    await run((one) => (open.push(one), one));
    console.log(`ok ${process.env.LABEL}: ${name}`);
  } catch (error) {
    failures++;
    console.log(`not ok ${process.env.LABEL}: ${name}`);
    console.log(String(error.stack).replace(/^/gm, '  # '));
  }
  for (const one of open) one.close();
}

// What comes, in order; next() waits for it.
class Inbox {
  constructor(what) { this.what = what; this.items = []; this.waiting = []; }
  push(item) { this.items.push(item); this.wake(); }
  wake() { for (const go of this.waiting.splice(0)) go(); }
  async take(matches, wanted) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const at = this.items.findIndex(matches);
      if (at >= 0) return this.items.splice(at, 1)[0];
      if (Date.now() > end) throw new Error(`${this.what} never got ${wanted}; got ${JSON.stringify(this.items)}`);
      await new Promise((go) => { this.waiting.push(go); setTimeout(go, 200); });
    }
  }
}

// ── packets by hand ──

class Raw {
  constructor(query = '', eio = 4) {
    const WebSocket = need('ws');
    this.inbox = new Inbox('the raw client');
    this.socket = new WebSocket(`${door.replace('http', 'ws')}/socket.io/?EIO=${eio}&transport=websocket${query}`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.on('message', (data, binary) => {
      const item = binary ? Buffer.from(data) : data.toString();
      if (item === '2') this.socket.send('3');
      else this.inbox.push(item);
    });
    this.closed = new Promise((go) => this.socket.on('close', (code) => go(code)));
    this.socket.on('error', () => {});
  }
  send(item) { this.socket.send(item); }
  close() { this.socket.close(); }
  next() { return this.inbox.take(() => true, 'anything'); }
  static async open(keep, query, eio) {
    const raw = keep(new Raw(query, eio));
    assert.match(await raw.next(), /^0\{/);
    return raw;
  }
  async connect(packet = '40') {
    this.send(packet);
    const greeting = await this.next();
    return [greeting, await this.next()];
  }
}

async function protocol() {
  await test('connect: sid alone, and the auth as it was', async (keep) => {
    const raw = await Raw.open(keep);
    const [greeting, auth] = await raw.connect('40{"token":"123"}');
    assert.deepEqual(Object.keys(JSON.parse(greeting.slice(2))), ['sid']);
    assert.equal(auth, '42["auth",{"token":"123"}]');
    const [custom, none] = await raw.connect('40/custom,');
    assert.match(custom, /^40\/custom,\{"sid":"[^"]+"\}$/);
    assert.equal(none, '42/custom,["auth",{}]');
  });
  await test('who listens for one message at a time misses none; the last namespace left, it is pinged on', async (keep) => {
    const one = () => new Promise((go) => raw.socket.once('message', (data) => go(data.toString())));
    const raw = await Raw.open(keep);
    raw.socket.removeAllListeners('message');
    raw.send('40');
    assert.match(await one(), /^40\{/);
    assert.equal(await one(), '42["auth",{}]');
    raw.send('41');
    assert.equal(await one(), '2');
  });
  await test('a namespace that there is not', async (keep) => {
    const raw = await Raw.open(keep);
    raw.send('40/random');
    assert.equal(await raw.next(), '44/random,{"message":"Invalid namespace"}');
  });
  await test('no connect in time: closed', async (keep) => {
    const raw = await Raw.open(keep);
    await raw.closed;
  });
  await test('events, acknowledgements and attachments come back', async (keep) => {
    const raw = await Raw.open(keep);
    await raw.connect();
    raw.send('42["message",1,"2",{"3":[true]}]');
    assert.equal(await raw.next(), '42["message-back",1,"2",{"3":[true]}]');
    raw.send('42456["message-with-ack",1,"2",{"3":[false]}]');
    assert.equal(await raw.next(), '43456[1,"2",{"3":[false]}]');
    const two = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';
    for (const [sent, wanted] of [[`452-["message",${two}]`, `452-["message-back",${two}]`],
      [`452-789["message-with-ack",${two}]`, `462-789[${two}]`]]) {
      raw.send(sent);
      raw.send(Buffer.from([1, 2, 3]));
      raw.send(Buffer.from([4, 5, 6]));
      assert.equal(await raw.next(), wanted);
      assert.deepEqual(await raw.next(), Buffer.from([1, 2, 3]));
      assert.deepEqual(await raw.next(), Buffer.from([4, 5, 6]));
    }
  });
  await test('one namespace is left, the other goes on', async (keep) => {
    const raw = await Raw.open(keep);
    await raw.connect();
    await raw.connect('40/custom');
    raw.send('41/custom');
    raw.send('42/custom,["message","late"]');
    raw.send('42["message","main"]');
    assert.equal(await raw.next(), '42["message-back","main"]');
  });
  for (const [name, connected, ...packets] of [
    ['an unknown type', true, '4abc'], ['an unknown type at once', false, '4abc'], ['an event that is no array', true, '42{}'],
    ['an id that is none', true, '42abc["message"]'], ['a name that is reserved', true, '42["disconnect"]'],
    ['an event before the connect', false, '42["message"]'], ['an event for a foreign namespace', true, '42/custom,["message"]'],
    ['no attachments', true, '450-["message"]'], ['eleven attachments', true, '4511-["message"]'],
    ['a placeholder for none', true, '451-["message",{"_placeholder":true,"num":1}]'],
    ['text in place of an attachment', true, '451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
    ['an attachment to nothing', true, Buffer.from([1])], ['the last namespace is left', true, '41'],
  ])
    await test(`${name}: closed`, async (keep) => {
      const raw = await Raw.open(keep);
      if (connected) await raw.connect();
      for (const packet of packets) raw.send(packet);
      await raw.closed;
    });
}

// ── stock clients ──

class Client {
  constructor(keep, token, { nsp = '/ws', transports, version = '', options = {} } = {}) {
    const { io } = need(`socket.io-client${version}`);
    const connect = io ?? need(`socket.io-client${version}`);
    keep(this);
    this.inbox = new Inbox(`client of ${nsp}`);
    this.socket = connect(door + nsp, { transports, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50,
      ...(version ? { query: token ? { token } : {} } : { auth: token ? { token } : {} }), ...options });
    const listen = ['connect', 'disconnect', 'connect_error', 'error', 'connected', 'joined_room', 'left_room', 'chat_message',
      'user_typing', 'joined-project', 'left-project', 'token_refreshed', 'events', 'event-received', 'fence'];
    for (const name of listen)
      this.socket.on(name, (data) => this.inbox.push({ name, data: data instanceof Error ? data.message : data }));
  }
  close() { this.socket.close(); }
  async next(name) { return (await this.inbox.take((item) => item.name === name, name)).data; }
  has(name) { return this.inbox.items.some((item) => item.name === name); }
  ask(name, ...args) {
    return new Promise((go, fail) => {
      setTimeout(() => fail(new Error(`${name} was not acknowledged`)), PATIENCE);
      this.socket.emit(name, ...args, go);
    });
  }
  say(type, data) { return this.ask('message', { type, data }); }
  async join(roomId) { assert.deepEqual(await this.ask('join_room', { roomId }), { roomId }); }
  // The transport breaks, without a word.
  breakOff() { this.socket.io.engine.close(); }
  static async open(keep, token, how) {
    const client = new Client(keep, token, how);
    const first = await client.inbox.take(({ name }) => name === 'connected' || name === 'connect_error', 'connected');
    client.greeting = first.data;
    if (first.name === 'connected') return client;
    client.close();
    // Those of the test before may not have gone yet.
    if (/^Too many/.test(first.data)) return Client.open(keep, token, how);
    throw new Error(first.data);
  }
}

const WAYS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

async function clients() {
  for (const [way, transports] of Object.entries(WAYS))
    for (const nsp of ['/ws', '/']) {
      const how = { transports, nsp };
      await test(`${way} ${nsp}: connected says who and which connection`, async (keep) => {
        const user = unique('u');
        const client = await Client.open(keep, mint(user), how);
        assert.deepEqual(client.greeting,
          { message: 'Connected to WebSocket server', userId: user, connectionId: client.socket.id });
        assert.notEqual(client.socket.id, client.socket.io.engine.id);
      });
      await test(`${way} ${nsp}: connect() once more, before it has happened`, async (keep) => {
        const first = await Client.open(keep, mint('u'), how);
        const second = keep(first.socket.io.socket(nsp === '/' ? '/ws' : '/', { auth: { token: mint('u') } }));
        const greeted = new Promise((go) => second.once('connected', go));
        second.connect();
        await greeted;
        assert.deepEqual(await first.say('typing_start', { roomId: unique('room') }), { status: 'sent' });
      });
      await test(`${way} ${nsp}: a token by header or query, and none`, async (keep) => {
        const token = mint('u');
        await Client.open(keep, null, { ...how, options: { extraHeaders: { Authorization: `Bearer ${token}` } } });
        await Client.open(keep, null, { ...how, options: { query: { token } } });
        const none = new Client(keep, null, how);
        assert.equal(await none.next('connect_error'), 'Unauthorized: no token');
        const other = new Client(keep, 'x', { ...how, options: { query: { token } } });
        assert.match(await other.next('connect_error'), /^Unauthorized: /);
      });
      await test(`${way} ${nsp}: rooms, and an error that says all`, async (keep) => {
        const room = unique('room');
        const [one, two] = [await Client.open(keep, mint('u1'), how), await Client.open(keep, mint('u2', { rooms: ['x'] }), how)];
        await one.join(room);
        assert.deepEqual(await one.next('joined_room'), { roomId: room });
        await one.join(room);
        const denied = await two.ask('join_room', { roomId: room });
        const { timestamp, ...rest } = await two.next('error');
        assert.deepEqual(rest, { type: 'error', message: 'Access denied to room', code: 'UNAUTHORIZED' });
        assert.equal(denied.timestamp, timestamp);
        const said = await two.say('send_message', { roomId: room, message: 'no' });
        assert.equal(said.code, 'UNAUTHORIZED');
        const stored = await one.say('send_message', { roomId: room, message: 'yes' });
        assert.equal(stored.status, 'accepted');
        assert.equal((await one.next('chat_message')).id, stored.id);
        assert.deepEqual(await one.say('typing_start', { roomId: room }), { status: 'sent' });
        assert.equal((await one.next('user_typing')).typing, true);
        assert.deepEqual(await one.ask('leave_room', { roomId: room }), { roomId: room });
        for (const bad of [{}, { roomId: '' }, { roomId: 1.5 }, 'x', null, { roomId: 'a'.repeat(161) }])
          assert.equal((await one.ask('join_room', bad)).code, 'INVALID_FIELD');
        assert.equal((await one.ask('nothing of ours')).code, 'UNSUPPORTED_TYPE');
        assert.equal((await one.ask('message', 'x')).code, 'INVALID_FIELD');
        assert.equal((await one.ask('message', { data: {} })).code, 'MISSING_TYPE');
        assert.equal((await one.ask('message', { type: 'a', data: Buffer.from([1]) })).code, 'INVALID_FIELD');
      });
      await test(`${way} ${nsp}: projects and their errors`, async (keep) => {
        const one = await Client.open(keep, mint('owner', { projects: ['listed'] }), how);
        assert.deepEqual(await one.ask('join-project', { projectId: 'listed', token: mint('owner') }), { projectId: 'listed' });
        assert.deepEqual(await one.ask('join-project', { projectId: 'mine' }), { projectId: 'mine' });
        for (const [argument, code] of [[{}, 'MISSING_PROJECT_ID'], [{ projectId: 'theirs' }, 'UNAUTHORIZED'],
          [{ projectId: 'nowhere' }, 'PROJECT_NOT_FOUND'], [{ projectId: 'asleep' }, 'PROJECT_INACTIVE'],
          [{ projectId: 'x'.repeat(200) }, 'JOIN_FAILED'], [{ projectId: 'mine', token: mint('other') }, 'UNAUTHORIZED'],
          [{ projectId: 'mine', token: 'x' }, 'UNAUTHORIZED']]) {
          const error = await one.ask('join-project', argument);
          assert.deepEqual([Object.keys(error), error.code], [['message', 'code'], code]);
        }
        assert.deepEqual(await one.ask('leave-project', { projectId: 'mine' }), { projectId: 'mine' });
        assert.equal((await one.ask('leave-project', { projectId: 'x'.repeat(200) })).code, 'LEAVE_FAILED');
      });
    }
  for (const [way, transports] of Object.entries(WAYS))
    await test(`${way}: who breaks off comes back and gets what it missed, once and in order`, async (keep) => {
      const room = unique('room');
      const [away, here] = [await Client.open(keep, mint('u1'), { transports }), await Client.open(keep, mint('u2'), { transports })];
      const tries = Number(process.env.RECOVERY_TRIES ?? 1);
      await away.join(room);
      await here.join(room);
      for (let turn = 0, sent = 0; turn < tries; turn++) {
        const said = async () => assert.equal((await here.say('send_message', { roomId: room, message: String(sent++) })).status, 'accepted');
        await said();
        assert.equal((await away.next('chat_message')).message, String(sent - 1));
        away.breakOff();
        await away.next('disconnect');
        for (let i = 0; i < 5; i++) await said();
        const id = away.socket.id ?? away.greeting.connectionId;
        for (let i = 5; i > 0; i--) assert.equal((await away.next('chat_message')).message, String(sent - i));
        assert.equal(away.socket.recovered, true);
        assert.equal(away.socket.id, away.greeting.connectionId, String(id));
        await said();
        assert.equal((await away.next('chat_message')).message, String(sent - 1));
        assert.equal(away.has('chat_message'), false);
      }
    });
  await test('whom an operator ends is told, and stays away; also one that has come back', async (keep) => {
    const client = await Client.open(keep, mint('u1'));
    client.breakOff();
    await client.next('disconnect');
    await client.next('connected');
    assert.equal(client.socket.recovered, true);
    const headers = { Authorization: `Bearer ${mint('operator', { scope: 'admin' })}` };
    const answer = await fetch(`${door}/api/connections/${client.socket.id}`, { method: 'DELETE', headers });
    assert.ok(answer.ok, String(answer.status));
    assert.equal(await client.next('disconnect'), 'io server disconnect');
    assert.equal(client.socket.active, false);
  });
  await test('who says good-bye is not remembered, nor is another user let in on a pid', async (keep) => {
    const [one, other] = [await Client.open(keep, mint('u1')), await Client.open(keep, mint('u2'))];
    one.socket.disconnect();
    one.socket.connect();
    await one.next('connect');
    await one.next('connected');
    assert.equal(one.socket.recovered, false);
    const stolen = one.socket._pid;
    one.breakOff();
    other.breakOff();
    other.socket._pid = stolen;
    await other.next('disconnect');
    await other.next('connected');
    assert.equal(other.socket.recovered, false);
  });
}

async function old() {
  for (const version of ['2', '3'])
    for (const [way, transports] of Object.entries(WAYS))
      await test(`socket.io-client ${version}, ${way}`, async (keep) => {
        const user = unique('u');
        const how = { transports, version, nsp: '/ws', options: version === '3' ? { auth: { token: mint(user) } } : {} };
        const client = await Client.open(keep, mint(user), how);
        assert.equal(client.greeting.userId, user);
        assert.equal(client.greeting.connectionId, client.socket.id);
        const room = unique('room');
        await client.join(room);
        assert.equal((await client.say('send_message', { roomId: room, message: 'old' })).status, 'accepted');
        assert.equal((await client.next('chat_message')).message, 'old');
      });
  await test('protocol 4 by hand: the main namespace by itself, what it is refused for as a text, a token in the namespace', async (keep) => {
    const raw = await Raw.open(keep, '', 3);
    assert.equal(await raw.next(), '44"Unauthorized: no token"');
    raw.send('40/random');
    assert.equal(await raw.next(), '44/random,{"message":"Invalid namespace"}');
    raw.send(`40/ws?x=1&token=${mint('u')},`);
    assert.equal(await raw.next(), '40/ws,');
    assert.match(await raw.next(), /^42\/ws,\["connected",\{/);
  });
}

// socketio_test.sh: leeway 0, 5 messages a minute, 2 connections a user, 3 from an address, idle 4 s, 20 events a second.
async function limits() {
  await test('a token that expires: told, then disconnected', async (keep) => {
    const client = await Client.open(keep, mint('u', { exp: Math.floor(Date.now() / 1000) + 2 }));
    const error = await client.next('error');
    assert.deepEqual([error.type, error.message, error.code], ['error', 'Token expired', 'TOKEN_EXPIRED']);
    assert.equal(await client.next('disconnect'), 'io server disconnect');
  });
  await test('a fresh token in time: of the same user only', async (keep) => {
    const exp = Math.floor(Date.now() / 1000) + 2;
    const client = await Client.open(keep, mint('u', { exp }));
    assert.equal((await client.ask('refresh_token', { token: mint('other') })).code, 'UNAUTHORIZED');
    assert.equal((await client.ask('refresh_token', { token: 'x' })).code, 'UNAUTHORIZED');
    assert.equal((await client.ask('refresh_token', {})).code, 'INVALID_FIELD');
    const { expiresAt } = await client.ask('refresh_token', { token: mint('u', { exp: exp + 1 }) });
    assert.equal(Date.parse(expiresAt), (exp + 1) * 1000);
    await client.next('error');
    await client.next('error');
    await client.next('error');
    assert.equal((await client.next('error')).code, 'TOKEN_EXPIRED');
    assert.ok(Date.now() >= (exp + 1) * 1000 - 20, String(Date.now() - (exp + 1) * 1000)); // two clocks
  });
  await test('messages a minute: of a user, over all its connections; not with scope ingest', async (keep) => {
    const user = unique('u');
    const [one, two] = [await Client.open(keep, mint(user)), await Client.open(keep, mint(user))];
    for (const client of [one, two, one, two, one]) assert.equal((await client.say('test', {})).status, 'accepted');
    for (const client of [one, two]) {
      const { timestamp, ...error } = await client.say('test', {});
      assert.deepEqual(error, { type: 'error', message: 'Rate limit exceeded', code: 'RATE_LIMITED' });
      assert.ok(Date.parse(timestamp));
    }
    one.close();
    const producer = await Client.open(keep, mint(user, { scope: 'ingest' }));
    for (let i = 0; i < 30; i++) assert.equal((await producer.say('test', {})).status, 'accepted');
  });
  await test('connections of a user, and from an address', async (keep) => {
    const user = unique('u');
    await Client.open(keep, mint(user));
    const second = await Client.open(keep, mint(user));
    const third = new Client(keep, mint(user));
    assert.equal(await third.next('connect_error'), 'Too many connections of this user');
    third.close();
    second.close();
    let again;
    for (let i = 0; i < 100 && !again?.socket.connected; i++) {
      again?.close();
      again = new Client(keep, mint(user), { options: { reconnection: false } });
      await again.inbox.take(({ name }) => name === 'connect' || name === 'connect_error', 'an answer');
    }
    assert.ok(again.socket.connected);
    const fill = [await Client.open(keep, mint('a'))];
    const crowd = new Client(keep, mint('b'), { options: { reconnection: false } });
    assert.equal(await crowd.next('connect_error'), 'Too many connections from this address');
    fill[0].close();
  });
  await test('events a second of one connection', async (keep) => {
    const client = await Client.open(keep, mint(unique('u')));
    const answers = await Promise.all(Array.from({ length: 60 }, () => client.ask('join_room', { roomId: 'hall' })));
    assert.ok(answers.some((answer) => answer.code === 'RATE_LIMITED'));
    assert.ok(answers.filter((answer) => answer.roomId === 'hall').length >= 20);
  });
  await test('heartbeats are no activity: closed, and the client may come back by itself', async (keep) => {
    const client = await Client.open(keep, mint(unique('u')));
    assert.match(await client.next('disconnect'), /^transport (close|error)$/);
    await client.next('connect');
  });
}

await { protocol, clients, old, limits }[part]();
process.exit(failures === 0 ? 0 : 1);
