// SPDX-License-Identifier: Apache-2.0
// The message buffer's dashboard [001]: statistics twice a second by WebSocket, messages by HTTP. With HOOK=file it is
// only the hook: it connects, comes back after every loss, and writes to the file how often it was there.
import { writeFileSync } from 'node:fs';
import { assert, keysOf, mint, Plain, request, run, unique, until, WebSocket, door } from './kit.mjs';

const token = mint('dashboard', { tenantId: 't-001' });
const KEYS = ['avg_batch_size', 'current_rps', 'messages_per_second', 'queue_depth', 'queue_length', 'timestamp',
  'total_batches', 'total_messages'];
const path = `/ws/stats?token=${token}`;

// As the front-end's hook does; its 3 s are a tenth here.
function hook(file) {
  let opened = 0;
  const connect = () => {
    const ws = new WebSocket(door.replace('http', 'ws') + path);
    ws.onmessage = (event) => {
      if (ws.counted) return;
      ws.counted = true;
      assert.ok('total_messages' in JSON.parse(event.data));
      opened += 1;
      writeFileSync(file, `${opened}`);
    };
    ws.onerror = () => {};
    ws.onclose = () => setTimeout(connect, 300);
  };
  connect();
}

const post = (body) => request('POST', '/messages', { token, body });

const cases = {
  async 'exactly the eight members, every 500 ms'() {
    const stats = await Plain.open(path);
    const heard = [];
    for (let i = 0; i < 7; i += 1) heard.push(await stats.next('message'));
    for (const one of heard) assert.deepEqual(keysOf(one), KEYS);
    const one = heard[0];
    assert.match(one.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
    for (const key of KEYS.filter((k) => k !== 'timestamp')) assert.equal(typeof one[key], 'number', key);
    const times = heard.map((h) => Date.parse(h.timestamp));
    const apart = times.slice(1).map((t, i) => t - times[i]).sort((a, b) => a - b)[3];
    assert.ok(apart > 400 && apart < 800, `${apart} ms`);
  },

  async 'POST /messages is counted, stored, and found by GET /messages'() {
    const channel = Math.floor(Math.random() * 1e9);
    const stats = await Plain.open(path);
    const before = (await stats.next('message')).total_messages;
    for (let i = 0; i < 5; i += 1) {
      const answer = await post({ user_id: 7, channel_id: channel, content: `m ${i}` });
      assert.deepEqual([answer.status, answer.body.status], [202, 'queued']);
    }
    await stats.next('message', (s) => s.total_messages >= before + 5);
    const found = await until('five messages', async () => {
      const { status, body } = await request('GET', `/messages?channel_id=${channel}&limit=10`, { token });
      assert.equal(status, 200, JSON.stringify(body));
      return body.length === 5 && body;
    });
    // Newest first, as Postgres took them: requests that landed on different shards have no order among them.
    assert.deepEqual(found.map((m) => m.content).sort(), ['m 0', 'm 1', 'm 2', 'm 3', 'm 4']);
    assert.ok(found.every((m, i) => i === 0 || m.id < found[i - 1].id), JSON.stringify(found));
    assert.deepEqual(keysOf(found[0]), ['channel_id', 'content', 'created_at', 'id', 'user_id']);
    const older = await request('GET', `/messages?channel_id=${channel}&limit=2&before=${found[2].id}`, { token });
    assert.deepEqual(older.body, found.slice(3));
    assert.equal((await request('GET', '/messages?limit=many', { token })).status, 422);
  },

  async 'a bad message is 422'() {
    assert.equal((await post({ user_id: 'me', channel_id: 1 })).status, 422);
  },

  async 'GET /stats has the same members'() {
    const { status, body } = await request('GET', '/stats', { token });
    assert.deepEqual([status, keysOf(body)], [200, KEYS]);
  },

  async 'without a token 401, and nothing is seen'() {
    const stats = new Plain('/ws/stats');
    assert.equal(await stats.next('refused'), 401);
    assert.equal((await request('GET', '/messages')).status, 401);
    assert.equal((await request('GET', `/stats?x=${unique('x')}`)).status, 401);
  },

  async 'a browser of another origin is refused, its own is not'() {
    const stranger = new Plain(path, { origin: 'http://elsewhere.test' });
    assert.equal(await stranger.next('refused'), 403);
    await Plain.open(path, { origin: 'http://localhost:3000' });
  },
};

if (process.env.HOOK) hook(process.env.HOOK);
else await run(cases);
